"""What a consumer that reuses decisions would have saved and lost, from made-up frames."""

import numpy as np
import pytest

from benchmarks.still.__main__ import THRESHOLDS, figures_of
from benchmarks.still.feeds import SeenFrame
from benchmarks.still.replay import least_difference, replay
from framematch.core.events import DecisionKind
from framematch.matching.decision import Candidate, Decision


def decision(product: str, kind: DecisionKind = "match") -> Decision:
    return Decision(kind, 0.9, 0.5, (Candidate(product, 0.9), Candidate("b", 0.1)))


def frame(number: int, level: int, found: Decision, *, product: str | None = None, camera: int = 1) -> SeenFrame:
    signature = np.full((16, 16, 3), level, np.uint8)
    return SeenFrame(camera, number * 200_000, signature, found, product, moving=False)


EMPTY = decision("none", "unknown")
FRAMES = [
    frame(0, 10, EMPTY),
    frame(1, 11, EMPTY),
    frame(2, 90, decision("kiwi"), product="kiwi"),
    frame(3, 92, decision("leek"), product="kiwi"),  # a wrong decision of its own
]


def test_still_frames_are_saved_and_take_over_what_was_right_or_wrong() -> None:
    found = replay(FRAMES, threshold=6, max_age_s=2.0)
    assert found.saved == 0.5
    assert found.changed == 0.25
    assert found.top1 == 1.0
    assert found.empty_taken == 0.0


def test_a_threshold_that_nothing_meets_gives_every_frame_its_own_decision() -> None:
    found = replay(FRAMES, threshold=-1, max_age_s=2.0)
    assert (found.saved, found.changed, found.top1) == (0.0, 0.0, 0.5)


def test_a_threshold_that_takes_the_product_for_the_empty_belt_loses_it() -> None:
    found = replay(FRAMES, threshold=255, max_age_s=2.0)
    assert found.saved == 0.75
    assert found.top1 == 0.0
    assert found.changed == 0.5


def test_the_least_difference_is_between_frames_with_different_products_alone() -> None:
    frames = [*FRAMES, frame(4, 110, decision("leek"), product="leek")]
    assert least_difference(frames) == 18


def test_figures_are_of_each_camera_and_losses_against_all_inferred() -> None:
    frames = FRAMES + [frame(number, 50 * number, EMPTY, camera=2) for number in range(4)]
    figures = figures_of([*frames, frame(5, 200, decision("leek"), product="leek")], 2.0)
    assert set(THRESHOLDS) == {int(name.split(".")[0][10:]) for name in figures if name.startswith("threshold_")}
    saved = figures["threshold_6.inferences_saved"]
    assert saved.low == 0.0
    assert saved.high == pytest.approx(0.4)
    assert figures["threshold_6.top1_lost"].low == pytest.approx(2 / 3 - 1)
