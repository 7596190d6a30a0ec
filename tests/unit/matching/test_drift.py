"""A camera is compared with any mixture of known products and strangers, so only what no mixture explains is a drift.

`drift_scores.json` has best similarities, in thousandths, that the demo's model gave to photos of the grocery dataset,
with four views of each of 81 products in the catalogue: of known products, and of the same photos with their product
left out. `calibration` and `live` are halves of its split `val`; `dim` (a quarter of the light) and `blurred` are
`live`, so changed; `trained` are photos that the model was trained with.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint, Share
from framematch.matching.calibration.curve import curve
from framematch.matching.calibration.scores import Impostors, Known
from framematch.matching.drift import MIN_REGIONS, CameraScores, Observation, ScoreReference, reference_of

SCORES = json.loads(Path(__file__).with_name("drift_scores.json").read_text(encoding="utf-8"))
NONE = Share(0, 1, 0.0, 1.0)
MINUTE_US = 60_000_000


def calibration_of(known: Any, impostors: Any) -> Calibration:
    """As a calibration by these scores states it."""
    scores = [np.asarray(one, float) for one in (known, impostors)]
    names, zeros = [np.full(len(one), "") for one in scores], [np.zeros(len(one), int) for one in scores]
    right = np.zeros(len(scores[0]))
    found = curve(Known(scores[0], names[0], zeros[0], right, right), [Impostors(scores[1], names[1], zeros[1])])
    points = [CurvePoint(*point) for point in found]
    return Calibration(
        "2026-01-01T00:00:00Z", 0.05, 0.05, None, len(scores[0]), 81, (), NONE, NONE, NONE, NONE, tuple(points), ()
    )


def recorded(name: str, kind: str) -> Any:
    return np.asarray(SCORES[name][kind]) / 1000


def reference(name: str) -> ScoreReference:
    found = reference_of(calibration_of(recorded(name, "known"), recorded(name, "impostors")))
    assert found is not None
    return found


def made(expected: ScoreReference, scores: Any) -> CameraScores:
    """A camera that gave these similarities, each of another thing."""
    camera = CameraScores(expected)
    for number, score in enumerate(scores):
        camera.observe(Observation(float(score), f"product-{number}", number))
    return camera


def mixture(chance: np.random.Generator, known: Any, impostors: Any, share: float, size: int = 600) -> Any:
    drawn = [chance.choice(known, round(share * size)), chance.choice(impostors, size - round(share * size))]
    return chance.permutation(np.concatenate(drawn))


@pytest.mark.parametrize("share", [0.8, 0.5, 0.2])
@pytest.mark.parametrize("name", ["live", "dim", "blurred"])
def test_photos_of_the_calibrated_kind_are_valid_however_many_strangers_there_are_and_however_dim_it_is(
    name: str, share: float
) -> None:
    # Dim and blurred photos of known products look like strangers: less is recognised, but no more strangers match.
    scores = mixture(np.random.default_rng(0), recorded(name, "known"), recorded(name, "impostors"), share)
    assert not made(reference("calibration"), scores).is_stale


@pytest.mark.parametrize("share", [1.0, 0.8, 0.5])
@pytest.mark.parametrize("name", ["live", "dim", "blurred"])
def test_a_calibration_by_photos_that_the_model_was_trained_with_is_stale_for_new_ones(name: str, share: float) -> None:
    # Its threshold for 5 % lets 17 to 21 % of these strangers through.
    scores = mixture(np.random.default_rng(0), recorded(name, "known"), recorded(name, "impostors"), share)
    assert made(reference("trained"), scores).is_stale


def normal(mean: float, size: int = 2_000, seed: int = 0) -> Any:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.08, size), -1, 1)


SHARP = reference_of(calibration_of(normal(0.8), normal(0.5, seed=1)))


@pytest.mark.parametrize(("strangers_at", "stale"), [(0.5, False), (0.66, True)])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_strangers_that_are_more_similar_than_those_of_the_calibration_are_noticed(
    share: float, strangers_at: float, stale: bool
) -> None:
    assert SHARP is not None
    chance = np.random.default_rng(2)
    scores = mixture(chance, normal(0.8, seed=3), normal(strangers_at, seed=4), share, size=900)
    assert made(SHARP, scores).is_stale == stale


def test_empty_scenes_do_not_count_however_many_there_are() -> None:
    assert SHARP is not None
    camera = made(SHARP, np.full(5_000, 0.3))
    assert (camera.psi, camera.is_stale) == (None, False)


def test_a_thing_that_stays_in_view_counts_once_a_minute() -> None:
    assert SHARP is not None
    camera = CameraScores(SHARP)
    for number in range(60 * MIN_REGIONS):  # for some minutes
        camera.observe(Observation(0.7, "milk", number * MINUTE_US // 60))
        assert camera.psi is None or number >= 60 * (MIN_REGIONS - 1)
    assert camera.is_stale  # that many minutes of one similarity are no mixture


def test_a_camera_is_not_judged_before_it_has_shown_enough() -> None:
    assert SHARP is not None
    assert made(SHARP, np.full(MIN_REGIONS - 1, 0.7)).psi is None
    assert made(SHARP, np.full(MIN_REGIONS, 0.7)).is_stale


def test_a_camera_gets_valid_again_when_what_it_sees_does() -> None:
    assert SHARP is not None
    camera = made(SHARP, np.full(400, 0.7))
    chance, changes = np.random.default_rng(5), []
    for number, score in enumerate(mixture(chance, normal(0.8, seed=6), normal(0.5, seed=7), 0.5, size=5_000)):
        was_stale = camera.is_stale
        camera.observe(Observation(float(score), f"later-{number}", number))
        changes += [camera.is_stale] if camera.is_stale != was_stale else []
    assert changes == [False]


def test_a_calibration_by_few_pictures_judges_less_strictly() -> None:
    few, many = (reference_of(calibration_of(normal(0.8, n), normal(0.5, n, seed=1))) for n in (60, 2_000))
    assert few is not None
    assert many is not None
    assert few.limit(500) > 2 * many.limit(500) == 0.5


def test_a_curve_with_too_few_points_judges_nothing() -> None:
    assert reference_of(calibration_of(normal(0.8, 5), normal(0.5, 5))) is None
