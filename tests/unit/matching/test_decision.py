"""Decisions from candidates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.matching.decision import MIN_LEAD, Candidate, Thresholds, decide

THRESHOLDS = Thresholds(match=0.75, margin=0.125)

scores = st.lists(st.floats(-1, 1), max_size=6).map(lambda found: sorted(found, reverse=True))
thresholds = st.builds(Thresholds, match=st.floats(-1, 1), margin=st.floats(0, 2))


def candidates(*found: float) -> list[Candidate]:
    return [Candidate(f"p{number}", score) for number, score in enumerate(found)]


@pytest.mark.parametrize(
    ("found", "kind", "reason", "margin"),
    [
        ([0.875, 0.5], "match", None, 0.375),
        ([0.875, 0.75], "match", None, 0.125),
        ([0.75, 0.25], "match", None, 0.5),
        ([0.875, 0.8125], "ambiguous", "below_margin", 0.0625),
        ([0.875, 0.875], "ambiguous", "tie", 0.0),
        ([0.7, 0.1], "unknown", "below_threshold", 0.6),
        ([0.7, 0.69], "unknown", "below_threshold", 0.01),
        ([0.7, 0.7], "unknown", "below_threshold", 0.0),
        ([0.875], "match", None, None),
        ([0.5], "unknown", "below_threshold", None),
    ],
)
def test_score_and_margin_decide_and_the_reason_says_which(
    found: list[float], kind: str, reason: str | None, margin: float | None
) -> None:
    decision = decide(candidates(*found), THRESHOLDS)
    assert (decision.kind, decision.reason, decision.score) == (kind, reason, found[0])
    assert decision.margin == (margin if margin is None else pytest.approx(margin))


def test_no_candidate_is_unknown_without_a_score() -> None:
    decision = decide([], THRESHOLDS)
    assert (decision.kind, decision.score, decision.margin) == ("unknown", None, None)


@pytest.mark.parametrize("lead", [0.0, 1e-7, 6e-5, 9e-4, math.nan])
@pytest.mark.parametrize("products", [2, 500])
def test_without_a_lead_there_is_no_match_whatever_the_thresholds(lead: float, products: int) -> None:
    found = candidates(0.9, *[0.9 - lead] * (products - 1))
    decision = decide(found, Thresholds(match=0.0, margin=0.0))
    assert (decision.kind, decision.reason, decision.candidates) == ("ambiguous", "tie", tuple(found))


def test_a_score_of_nan_is_unknown() -> None:
    assert decide(candidates(math.nan), THRESHOLDS).kind == "unknown"


@given(scores, thresholds)
def test_a_match_needs_both_the_score_and_the_margin(found: list[float], limits: Thresholds) -> None:
    enough = bool(found) and found[0] >= limits.match
    ahead = len(found) < 2 or (found[0] - found[1] >= limits.margin and found[0] - found[1] > MIN_LEAD)
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
def test_every_decision_but_a_match_has_a_reason(found: list[float], limits: Thresholds) -> None:
    decision = decide(candidates(*found), limits)
    assert (decision.reason is None) == (decision.kind == "match")


@given(scores, thresholds)
def test_candidates_are_passed_on_unchanged(found: list[float], limits: Thresholds) -> None:
    assert decide(candidates(*found), limits).candidates == tuple(candidates(*found))
