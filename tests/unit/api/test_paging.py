"""Page tokens: signed, and of one list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.api.paging import PageTokens
from framematch.api.problems import Problem

TOKENS = PageTokens(b"k" * 32)
POSITIONS = st.lists(st.one_of(st.integers(), st.text(), st.floats(allow_nan=False), st.none()), min_size=1)


@given(position=POSITIONS, query=st.dictionaries(st.text(), st.text()))
def test_a_token_gives_its_position_back(position: list[object], query: dict[str, str]) -> None:
    assert TOKENS.open(TOKENS.sign(position, query), query) == position


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="not one of this list"):
        TOKENS.open(text, {})


def test_a_token_of_another_filter_is_refused() -> None:
    token = TOKENS.sign(["a"], {"camera": "till-1"})
    with pytest.raises(Problem, match="not one of this list"):
        TOKENS.open(token, {"camera": "till-2"})


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(Problem, match="not one of this list"):
        TOKENS.open(PageTokens(b"x" * 32).sign(["a"], {}), {})


@given(st.integers(min_value=0, max_value=200))
def test_a_changed_token_is_refused(place: int) -> None:
    token = TOKENS.sign(["a", 1], {})
    place %= len(token) - 1  # the last character has unused bits
    changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    with pytest.raises(Problem, match="not one of this list"):
        TOKENS.open(changed, {})
