"""The options that `framematch watch` refuses before connecting to Kafka."""

import pytest
from typer.testing import CliRunner

from framematch.cli.app import app
from framematch.core.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--decision", "macth"], "there is no decision 'macth'. Use one of match, ambiguous, unknown"),
        (["--sightings", "--decision", "match"], "--decision is for match events, not for --sightings"),
    ],
)
def test_contradicting_options_are_wrong_usage(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, ["watch", *arguments]).exception
    assert isinstance(refused, UsageError)
    assert said in str(refused)
