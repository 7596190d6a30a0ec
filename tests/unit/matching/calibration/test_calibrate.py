"""Thresholds with stated rates, from the scores of labelled pictures."""

import math
from dataclasses import replace

import numpy as np
import pytest

from framematch.catalog.snapshots.calibration import SourceRate
from framematch.catalog.snapshots.thresholds import METHOD_CALIBRATED
from framematch.matching.calibration.calibrate import calibrate
from framematch.matching.calibration.curve import auroc
from framematch.matching.calibration.options import Calibrated, CalibrationOptions, TooFew
from framematch.matching.calibration.samples import SampleScores, ScoredSample
from framematch.matching.decision import Thresholds, decide
from tests.unit.matching.calibration.made_scores import (
    impostor,
    known,
    many_known,
    many_strangers,
    scores_of,
)

OPTIONS = CalibrationOptions(at="2026-01-01T00:00:00Z", rate=0.1, mixup_rate=0.1)
KNOWN = many_known(200)
STRANGERS = many_strangers(100)


def calibrated(samples: list[ScoredSample], options: CalibrationOptions = OPTIONS) -> Calibrated:
    made = calibrate(scores_of(samples), options)
    assert isinstance(made, Calibrated)
    return made


def refused(samples: list[ScoredSample], options: CalibrationOptions = OPTIONS) -> TooFew:
    made = calibrate(scores_of(samples), options)
    assert isinstance(made, TooFew)
    return made


def source(made: Calibrated, name: str) -> SourceRate:
    (found,) = [one for one in made.calibration.sources if one.source == name]
    return found


def test_the_threshold_is_that_of_the_strictest_source() -> None:
    near = [impostor(f"n{number}", 0.9 + number / 1000, kind="nothing") for number in range(20)]
    made = calibrated([*KNOWN, *STRANGERS, *near])
    assert made.thresholds.match == source(made, "nothing").threshold == 0.918001
    assert made.thresholds.match > (source(made, "unseen").threshold or math.inf)
    assert (made.thresholds.method, made.thresholds.false_accept_rate) == (METHOD_CALIBRATED, 0.1)
    assert made.thresholds.impostors == 20


def test_a_source_with_too_few_pictures_states_nothing_and_says_how_many_are_missing() -> None:
    made = calibrated([*KNOWN, *STRANGERS[:4]])
    assert source(made, "siblings").missing == 0
    assert (source(made, "unseen").threshold, source(made, "unseen").missing) == (None, 5)
    assert (source(made, "nothing").missing, source(made, "nothing").auroc) == (9, None)
    assert (source(made, "nothing").accepted.low, source(made, "nothing").accepted.high) == (0, 1)


def test_too_few_impostors_are_counted_and_nothing_is_stated() -> None:
    few = refused([*KNOWN[:8], *STRANGERS[:7]])
    assert {one.pictures: (one.have, one.needed) for one in few.shortages} == {
        "siblings": (8, 9),
        "unseen": (7, 9),
        "nothing": (0, 9),
    }
    assert few.explain() == (
        "a rate of 10 % cannot be stated: 8 independent pictures of known products, which are left out of the search, "
        "9 needed or 7 of products that the catalogue lacks, 9 needed or 0 of scenes without a product, 9 needed"
    )


def test_a_guarantee_needs_more_pictures_and_is_stricter() -> None:
    bound = replace(OPTIONS, guarantee=0.95)
    assert {one.needed for one in refused([*KNOWN[:28]], bound).shortages} == {29}
    made = calibrated([*KNOWN, *STRANGERS], bound)
    assert made.thresholds.match > calibrated([*KNOWN, *STRANGERS]).thresholds.match
    assert made.calibration.guarantee == 0.95


def test_too_few_accepted_pictures_of_known_products_state_no_mixups() -> None:
    few = refused([*many_known(8), *STRANGERS])
    assert [(one.pictures, one.have, one.needed) for one in few.shortages] == [("accepted", 7, 9)]


def test_a_product_that_is_often_not_among_the_candidates_is_no_set_of_candidates() -> None:
    lost = [
        ScoredSample(one.label, one.candidates[1:], one.shows, one.siblings) for one in many_known(200, seed=3)[:50]
    ]
    sure = [replace(one, candidates=(replace(one.candidates[0], score=0.95),)) for one in lost]
    few = refused([*KNOWN, *sure, *STRANGERS])
    assert [one.pictures for one in few.shortages] == ["found"]
    assert few.shortages[0].have < few.shortages[0].needed


def test_strangers_that_are_equal_to_products_are_a_problem_and_no_threshold() -> None:
    assert "labels" in refused([*KNOWN, *(impostor(f"s{number}", 1.0) for number in range(20))]).explain()


def test_known_pictures_far_behind_another_product_are_a_problem_and_no_margin() -> None:
    wrong = [known(f"w{number}", -0.9, 0.95, sibling=0.5) for number in range(60)]
    assert "labels" in refused([*KNOWN[:40], *wrong, *STRANGERS]).explain()


def test_pictures_of_one_group_count_once() -> None:
    repeated = [replace(one, label=replace(one.label, group="visit")) for one in STRANGERS]
    made = calibrated([*KNOWN, *repeated])
    assert (source(made, "unseen").missing, source(made, "unseen").accepted.pictures) == (8, 1)
    assert made.calibration.samples == 300


def test_two_products_of_one_group_are_independent() -> None:
    visit = [known("visit", 0.8, 0.5, product=f"p{number}") for number in range(30)]
    assert source(calibrated(visit), "siblings").accepted.pictures == 30


def test_the_set_of_candidates_holds_the_right_product_at_the_stated_rate() -> None:
    # Behind by 0, 0.01, 0.02, ... : the tenth of 100 may be further behind than the margin.
    behind = [known(f"k{number}", 0.9 - number / 100, 0.9, sibling=0.1) for number in range(99)]
    made = calibrated([*behind, *STRANGERS])
    assert made.thresholds.margin == pytest.approx(0.890001)


def decided(scored: ScoredSample, made: Calibrated) -> tuple[bool, bool]:
    thresholds = Thresholds(made.thresholds.match, made.thresholds.margin)
    found = decide(scored.candidates, thresholds)
    plausible = {one.product_id for one in found.candidates[: found.plausible]}
    return found.kind != "unknown", bool(plausible & scored.shows)


def test_decisions_by_the_thresholds_hold_both_rates_on_the_pictures_themselves() -> None:
    made = calibrated([*KNOWN, *STRANGERS])
    assert sum(decided(one, made)[0] for one in STRANGERS) <= 10
    accepted = [holds for passed, holds in (decided(one, made) for one in KNOWN) if passed]
    assert accepted.count(False) <= 0.1 * len(accepted)


def test_realised_rates_are_those_of_pictures_that_the_threshold_was_not_made_from() -> None:
    # In each fold the highest of ten is above all others: in the sample itself none would be.
    made = calibrated([*KNOWN[:0], *(known(f"k{n}", 0.9, 0.1 + n / 1000) for n in range(10))])
    assert (source(made, "siblings").accepted.hits, source(made, "siblings").accepted.pictures) == (1, 10)
    assert source(made, "siblings").accepted.high == pytest.approx(0.445, abs=1e-3)


def test_the_stated_rate_lies_in_the_interval_of_the_realised_one() -> None:
    made = calibrated([*many_known(400), *many_strangers(400)])
    accepted = source(made, "siblings").accepted
    assert accepted.low <= 0.1 <= accepted.high
    assert made.calibration.mixups.pictures + made.calibration.ambiguous.hits + made.calibration.refused.hits == 400


def test_a_picture_of_several_equal_products_is_ambiguous_and_holds_the_right_one() -> None:
    twins = [
        replace(known(f"t{number}", 0.95, 0.95, sibling=0.1), shows=frozenset({"right", "other0"}))
        for number in range(100)
    ]
    calibration = calibrated(twins).calibration
    assert calibration.ambiguous.hits == calibration.holds_truth.hits == 100


def test_the_curve_is_bounded_and_monotone() -> None:
    curve = calibrated([*KNOWN, *many_strangers(3000)]).calibration.curve
    assert 20 < len(curve) <= 100
    assert [one.threshold for one in curve] == sorted({one.threshold for one in curve})
    assert [one.accepted for one in curve] == sorted((one.accepted for one in curve), reverse=True)
    assert [one.refused for one in curve] == sorted(one.refused for one in curve)


def test_auroc_counts_ties_half() -> None:
    assert auroc(np.array([0.5, 0.7]), np.array([0.5, 0.1])) == 0.875
    assert auroc(np.array([]), np.array([0.5])) is None


def test_an_impostor_without_candidates_is_refused_by_every_threshold() -> None:
    made = calibrated([*KNOWN, *(impostor(f"e{number}", kind="nothing") for number in range(30))])
    assert source(made, "nothing").accepted.hits == 0
    assert math.isfinite(source(made, "nothing").threshold or math.nan)


def test_one_product_has_no_siblings_and_no_second_product() -> None:
    alone = [replace(known(f"k{number}", 0.9), siblings=()) for number in range(20)]
    made = calibrated([*alone, *STRANGERS])
    assert source(made, "siblings").missing == 9
    assert made.calibration.mixups.pictures == 20
    assert {one.pictures for one in refused(alone).shortages} == {"siblings", "unseen", "nothing"}


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="no finite score"):
        calibrate(scores_of([*KNOWN, impostor("bad", score)]), OPTIONS)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(OPTIONS, rate=0.0),
        replace(OPTIONS, rate=1.0),
        replace(OPTIONS, mixup_rate=math.nan),
        replace(OPTIONS, guarantee=1.0),
    ],
)
def test_a_rate_is_between_0_and_1(wrong: CalibrationOptions) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(scores_of(KNOWN), wrong)


def test_the_order_of_the_samples_makes_no_difference() -> None:
    assert calibrated([*KNOWN, *STRANGERS]) == calibrated([*STRANGERS[::-1], *KNOWN[::-1]])


def categorised() -> tuple[list[ScoredSample], dict[str, str]]:
    fruit = [impostor(f"f{n}", 0.2 + n / 1000, best="apple") for n in range(60)]
    tins = [impostor(f"t{n}", 0.6 + n / 1000, best="beans") for n in range(60)]
    return [*fruit, *tins, *STRANGERS[:20]], {"apple": "fruit", "beans": "tins"}


def test_a_category_with_enough_impostors_has_its_own_threshold() -> None:
    strangers, categories = categorised()
    sure = [replace(one, siblings=()) for one in KNOWN]
    made = calibrate(SampleScores((*sure, *strangers), 10, categories), OPTIONS)
    assert isinstance(made, Calibrated)
    assert [(one.category, one.impostors) for one in made.calibration.categories] == [("fruit", 60), ("tins", 60)]
    matches = [one.match for one in made.calibration.categories]
    assert matches == pytest.approx([0.254, 0.654], abs=2e-6)
    assert made.thresholds.match not in matches


def test_a_category_needs_enough_impostors_of_every_stated_source() -> None:
    strangers, categories = categorised()
    made = calibrate(SampleScores((*KNOWN, *strangers), 10, categories), OPTIONS)  # siblings: of no category
    assert isinstance(made, Calibrated)
    assert made.calibration.categories == ()


def test_categories_can_be_left_out() -> None:
    strangers, categories = categorised()
    sure = [replace(one, siblings=()) for one in KNOWN]
    made = calibrate(SampleScores((*sure, *strangers), 10, categories), replace(OPTIONS, by_category=False))
    assert isinstance(made, Calibrated)
    assert made.calibration.categories == ()
