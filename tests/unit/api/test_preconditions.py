"""Conditions of a change."""

import pytest

from framematch.api.preconditions import check_conditions, strong_etag
from framematch.api.problems import Problem


@pytest.mark.parametrize(
    ("etag", "if_match", "if_none_match"),
    [
        ('"7"', None, None), (None, None, None), ('"7"', '"7"', None), ('"7"', '"6", "7"', None), ('"7"', "*", None),
        (None, None, "*"), (None, None, '"7"'), ('"7"', None, '"6"'),
    ],
)  # fmt: skip
def test_a_condition_that_is_met_changes_nothing(
    etag: str | None, if_match: str | None, if_none_match: str | None
) -> None:
    check_conditions(etag, if_match, if_none_match)


@pytest.mark.parametrize(
    ("etag", "if_match", "if_none_match"),
    [
        ('"7"', '"6"', None), (None, '"7"', None), (None, "*", None), ('"7"', "7", None), ('"7"', 'W/"7"', None),
        ('"7"', "", None), ('"7"', None, "*"), ('"7"', None, '"7"'),
    ],
)  # fmt: skip
def test_a_condition_that_is_not_met_is_a_412(
    etag: str | None, if_match: str | None, if_none_match: str | None
) -> None:
    with pytest.raises(Problem) as caught:
        check_conditions(etag, if_match, if_none_match)
    assert caught.value.status == 412


def test_an_etag_is_a_quoted_text() -> None:
    assert strong_etag(7) == '"7"'
