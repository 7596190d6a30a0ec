"""The votes of frames for products."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint, Share, SightingThresholds
from framematch.matching.votes import (
    FRAME_EVIDENCE,
    MAX_EVIDENCE,
    MAX_PRODUCTS,
    MIN_EVIDENCE,
    Ballot,
    Tally,
    VoteRules,
    clearness_of,
    evidence_curve,
    novelty_of,
    votes_of,
)

RULES = VoteRules(margin=0.1)
SHARE = Share(0, 100, 0.0, 0.04)
CURVE = tuple(CurvePoint(score / 10, accepted, refused) for score, accepted, refused in [
    (0, 1.0, 0.0), (3, 0.8, 0.02), (5, 0.3, 0.1), (6, 0.1, 0.2), (8, 0.01, 0.5), (10, 0.0, 1.0),
])  # fmt: skip


def match(product: str, score: float = 0.9, clearness: float = 1.0, novelty: float = 1.0, **others: float) -> Ballot:
    """A frame that matches `product`, with other candidates."""
    return Ballot([(product, score), *others.items()], 0.75, product, clearness, novelty)


def unknown(product: str = "milk", score: float = 0.7) -> Ballot:
    return Ballot([(product, score)], 0.75, None)


def frames(letters: str) -> list[Ballot]:
    """A match for each letter; the others of A and B are far behind."""
    return [match(letter, 0.85, **{other: 0.5 for other in "AB" if other != letter}) for letter in letters]


def decisions(ballots: list[Ballot], rules: VoteRules = RULES, start_frames: int = 2) -> list[str | None]:
    """The decided product after each frame."""
    tally, found = Tally(), []
    for ballot in ballots:
        tally = tally.add(ballot, rules, start_frames)
        found.append(tally.product if tally.decided else None)
    return found


def test_two_matches_decide_without_a_calibration() -> None:
    assert decisions(frames("AA")) == [None, "A"]


@pytest.mark.parametrize("score", [0.75, 0.76, 0.99])
@pytest.mark.parametrize("margin", [0.0, 0.001, 0.05, 0.2])
def test_matches_that_are_just_good_enough_decide_whatever_the_margin(score: float, margin: float) -> None:
    second = score - max(margin, 0.001)
    assert votes_of([match("A", score, B=second)] * 2, VoteRules(margin)).product == "A"


def test_one_wrong_frame_among_good_ones_changes_nothing() -> None:
    assert decisions(frames("AABAA")) == [None, "A", "A", "A", "A"]


def test_a_product_that_was_wrong_at_first_changes_after_some_frames() -> None:
    assert decisions(frames("AABBBB")) == [None, "A", "A", "A", "A", "B"]


def test_a_thing_that_was_in_view_for_long_can_change_within_seconds() -> None:
    assert decisions(frames("A" * 500 + "B" * 10))[-2:] == ["A", "B"]


def test_products_in_turn_change_nothing() -> None:
    assert set(decisions(frames("AA" + "BA" * 50))[1:]) == {"A"}


def test_frames_that_are_all_ambiguous_are_decided_by_the_product_that_is_always_ahead() -> None:
    ahead = Ballot([("A", 0.9), ("B", 0.86)], 0.75, None)
    assert decisions([match("A", 0.9, B=0.8), ahead, ahead, match("A", 0.9, B=0.8)])[-1] == "A"
    assert decisions([ahead] * 20)[-1] is None


def test_a_still_scene_counts_about_once() -> None:
    still = [match("A"), *[match("A", novelty=novelty_of(1.0))] * 99]
    assert votes_of(still, RULES).tally.weight == 1.0
    assert votes_of(still, RULES).tally.leading_evidence == votes_of(still[:1], RULES).tally.leading_evidence


def test_noise_of_a_camera_adds_little() -> None:
    assert novelty_of(0.99) == pytest.approx(0.2)
    assert novelty_of(0.95) == novelty_of(0.3) == novelty_of(None) == 1.0


def test_bad_pictures_weigh_little() -> None:
    assert [clearness_of(quality) for quality in (0.0, 0.2, 0.8, 1.0, None)] == [0.0, 0.25, 1.0, 1.0, 1.0]
    blurred = [match("A", 0.75, clearness=clearness_of(0.05))] * 4
    assert decisions(blurred)[-1] is None


def test_many_weak_frames_of_an_unknown_product_decide_nothing() -> None:
    weak = [match("A", 0.76, B=0.6), *[unknown("A", 0.7)] * 3]
    assert decisions(weak * 50) == [None] * 200


def test_a_product_that_no_frame_names_counts_as_the_least() -> None:
    tally = Tally().add(match("A"), RULES, 2).add(match("B"), RULES, 2)
    assert dict(tally.evidence) == {"A": -0.5, "B": -0.5}


def test_a_change_needs_clear_frames_and_only_their_evidence_is_less_where_the_scene_is_still() -> None:
    still = [match("B", novelty=0.4, A=0.4)] * 8
    assert decisions([*frames("AA"), *still])[-1] == "B"
    blurred = [match("B", clearness=0.4, A=0.4)] * 8
    assert decisions([*frames("AA"), *blurred])[-1] == "A"


def test_ties_are_in_the_order_of_ids() -> None:
    assert Tally().add(Ballot([("B", 0.8), ("A", 0.8)], 0.75, None), RULES, 2).leader == "A"


def test_a_calibrated_snapshot_needs_its_own_evidence_and_lead() -> None:
    calibration = Calibration(
        at="2026-01-01T00:00:00Z", rate=0.05, mixup_rate=0.05, guarantee=None, samples=100, products=3, sources=(),
        mixups=SHARE, ambiguous=SHARE, refused=SHARE, holds_truth=SHARE, curve=CURVE,
        sightings=SightingThresholds(evidence=7.0, lead=2.0, accepted=SHARE),
    )  # fmt: skip
    rules = VoteRules.of(0.1, calibration)
    assert (rules.evidence, rules.lead, rules.curve) == (7.0, 2.0, evidence_curve(CURVE))
    assert decisions(frames("AAAA"), rules) == [None, None, "A", "A"]


def test_evidence_by_a_calibration_rises_with_the_similarity_and_is_zero_where_both_errors_are_equal() -> None:
    rules = VoteRules(0.1, curve=evidence_curve([*CURVE, CurvePoint(0.55, 0.15, 0.15)]))
    found = [rules.evidence_of(score / 100, 0.75) for score in range(-10, 120)]
    assert found == sorted(found)
    assert found[0] == found[40] < -2
    assert found[-1] == found[90] == FRAME_EVIDENCE
    assert rules.evidence_of(0.55, 0.75) == pytest.approx(0.0)


def test_the_peak_is_the_highest_evidence_at_which_the_frames_could_decide() -> None:
    verdict = votes_of(frames("AAB"), RULES)
    assert verdict.peak == votes_of(frames("AA"), RULES).tally.leading_evidence
    assert verdict.peak > verdict.tally.leading_evidence
    assert votes_of(frames("A"), RULES).peak == float("-inf")


def ballot(scores: dict[str, float], weight: float, *, matches: bool) -> Ballot:
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    return Ballot(ordered, 0.75, ordered[0][0] if matches else None, novelty=weight)


SCORES = st.dictionaries(st.sampled_from("ABCDEFGHIJKL"), st.floats(-1, 1), min_size=1, max_size=12)
BALLOTS = st.builds(ballot, SCORES, st.floats(0, 1), matches=st.booleans())


@given(st.lists(BALLOTS, max_size=30))
@settings(max_examples=50, deadline=None)
def test_votes_are_bounded_and_best_first(ballots: list[Ballot]) -> None:
    tally = votes_of(ballots, RULES).tally
    values = [value for _, value in tally.evidence]
    assert len(values) <= MAX_PRODUCTS
    assert values == sorted(values, reverse=True)
    assert all(MIN_EVIDENCE <= value <= MAX_EVIDENCE for value in values)
    assert all(round(value, 3) == value for value in [*values, tally.weight, tally.challenge])
