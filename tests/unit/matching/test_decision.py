"""Decisions from candidates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.matching.decision import Candidate, Thresholds, decide

THRESHOLDS = Thresholds(match=0.75, margin=0.125)

scores = st.lists(st.floats(-1, 1), max_size=6).map(lambda found: sorted(found, reverse=True))
thresholds = st.builds(Thresholds, match=st.floats(-1, 1), margin=st.floats(0, 2))


def candidates(*found: float) -> list[Candidate]:
    return [Candidate(f"p{number}", score) for number, score in enumerate(found)]


@pytest.mark.parametrize(
    ("found", "kind", "margin"),
    [
        ([0.875, 0.5], "match", 0.375),
        ([0.875, 0.75], "match", 0.125),
        ([0.75, 0.25], "match", 0.5),
        ([0.875, 0.8125], "ambiguous", 0.0625),
        ([0.7, 0.1], "unknown", 0.6),
        ([0.7, 0.69], "unknown", 0.01),
        ([0.875], "match", None),
        ([0.5], "unknown", None),
    ],
)
def test_score_and_margin_decide(found: list[float], kind: str, margin: float | None) -> None:
    decision = decide(candidates(*found), THRESHOLDS)
    assert (decision.kind, decision.score) == (kind, found[0])
    assert decision.margin == (margin if margin is None else pytest.approx(margin))


def test_no_candidate_is_unknown_without_a_score() -> None:
    decision = decide([], THRESHOLDS)
    assert (decision.kind, decision.score, decision.margin) == ("unknown", None, None)


def test_a_score_of_nan_is_unknown() -> None:
    assert decide(candidates(math.nan), THRESHOLDS).kind == "unknown"


@given(scores, thresholds)
def test_a_match_needs_both_the_score_and_the_margin(found: list[float], limits: Thresholds) -> None:
    enough = bool(found) and found[0] >= limits.match
    ahead = len(found) < 2 or found[0] - found[1] >= limits.margin
    expected = "match" if enough and ahead else "ambiguous" if enough else "unknown"
    assert decide(candidates(*found), limits).kind == expected


@given(scores, thresholds, st.floats(0, 1), st.floats(0, 1))
def test_stricter_thresholds_never_make_a_match(
    found: list[float], limits: Thresholds, more: float, further: float
) -> None:
    strict = Thresholds(limits.match + more, limits.margin + further)
    if decide(candidates(*found), strict).kind == "match":
        assert decide(candidates(*found), limits).kind == "match"


@given(scores, thresholds)
def test_candidates_are_passed_on_unchanged(found: list[float], limits: Thresholds) -> None:
    assert decide(candidates(*found), limits).candidates == tuple(candidates(*found))
