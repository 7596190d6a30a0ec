"""Decisions from candidates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.matching.decision import MAX_PLAUSIBLE, MIN_LEAD, Candidate, Thresholds, decide

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


@pytest.mark.parametrize(
    ("found", "plausible"),
    [
        ([0.875, 0.5], 1),
        ([0.875, 0.75], 1),  # the margin is enough
        ([0.875, 0.8125, 0.77, 0.75, 0.1], 3),
        ([0.875, 0.875, 0.2], 2),
        ([0.875], 1),
        ([0.7, 0.69], 0),
        ([], 0),
    ],
)
def test_plausible_are_the_products_within_the_margin(found: list[float], plausible: int) -> None:
    assert decide(candidates(*found), THRESHOLDS).plausible == plausible


@given(scores, thresholds)
def test_a_match_has_one_plausible_product_an_ambiguous_decision_more(found: list[float], limits: Thresholds) -> None:
    decision = decide(candidates(*found), limits)
    assert {"unknown": decision.plausible == 0, "match": decision.plausible == 1, "ambiguous": decision.plausible > 1}[
        decision.kind
    ]


@given(scores, thresholds, st.integers(1, 6))
def test_the_plausible_products_are_kept_whatever_is_asked_for(
    found: list[float], limits: Thresholds, top_k: int
) -> None:
    decision = decide(candidates(*found), limits, top_k)
    assert decision.candidates == tuple(candidates(*found))[: max(top_k, decision.plausible)]
    assert decision.kind == decide(candidates(*found), limits).kind


def test_no_more_products_are_plausible_than_an_event_lists() -> None:
    decision = decide(candidates(*[0.9] * 50), THRESHOLDS, 5)
    assert decision.plausible == len(decision.candidates) == MAX_PLAUSIBLE


def test_a_product_with_a_threshold_of_its_own_is_decided_by_it() -> None:
    limits = Thresholds(match=0.75, margin=0.1, match_of={"p0": 0.9})
    assert decide(candidates(0.875, 0.5), limits).reason == "below_threshold"
    assert decide(candidates(0.95, 0.5), limits).kind == "match"
    assert decide([Candidate("other", 0.8), Candidate("p0", 0.1)], limits).kind == "match"
    assert (limits.lowest_match, limits.match_for(candidates(0.9)), limits.match_for([])) == (0.75, 0.9, 0.75)
