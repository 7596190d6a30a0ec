"""`framematch api-key`: what it refuses before it asks MongoDB."""

import pytest
from typer.testing import CliRunner

from framematch.api.access.keys import key_text, new_secret
from framematch.cli.api_key import app
from framematch.core.errors import FramematchError

KEY = key_text("0123456789ab", new_secret())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "a", "--scope", "root"], "there is no scope 'root'"),
        (["create", " ", "--scope", "read"], "a name has 1 to 100"),
        (["create", "a", "--scope", "read", "--camera", "a b"], "camera 'a b'"),
        (["create", "a", "--scope", "read", "--expires", "soon"], "is no time"),
        (["create", "a", "--scope", "read", "--expires", "0d"], "is no time"),
        (["revoke", "x"], "this is not the id of a key"),
        (["revoke", KEY], "this is a whole key"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint_and_without_a_secret(arguments: list[str], message: str) -> None:
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, FramematchError)
    assert message in error.message
    assert error.exit_code == 2
    assert error.hint
    assert KEY not in str(error)
