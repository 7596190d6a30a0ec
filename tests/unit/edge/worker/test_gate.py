"""The gate passes frames that are worth sending, and finds what moved."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras import Camera
from edge.sources import Source
from edge.worker.gate import Gate, GateDecision
from framematch.core.arrays import Pixels
from framematch.core.settings import MotionSettings, RegionSettings

FPS = 5.0


@dataclass(frozen=True)
class GreyFrame:
    """A decoded picture of which only the brightness is needed."""

    picture: Pixels

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.shape[1], self.picture.shape[0]

    def grey(self, width: int) -> Pixels:
        small = cv2.resize(self.picture, (width, width * self.size[1] // self.size[0]), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)

    def colour(self, max_side: int) -> Pixels:
        raise AssertionError(max_side)


def still() -> GreyFrame:
    return GreyFrame(np.full((360, 640), 100, np.uint8))


def with_a_can() -> GreyFrame:
    frame = still()
    frame.picture[160:220, 400:440] = 200
    return frame


def camera(motion: MotionSettings, regions: RegionSettings | None = None) -> Camera:
    source = Source("file", "video.mp4")
    return Camera("till-1", source, FPS, 640, 85, motion=motion, regions=regions or RegionSettings())


def decisions(watched: Camera, frames: list[GreyFrame], *, fps: float = FPS) -> list[GateDecision]:
    gate = Gate(watched)
    return [gate.evaluate(frame, 1000 + number / fps) for number, frame in enumerate(frames)]


def test_a_gate_that_is_off_passes_every_frame() -> None:
    assert decisions(camera(MotionSettings()), [still()] * 20) == [GateDecision(send=True)] * 20


def test_the_frames_of_the_first_second_pass() -> None:
    assert all(decision.send for decision in decisions(camera(MotionSettings(gate=True)), [still()] * 5))


def test_of_a_still_scene_only_keep_alive_frames_pass() -> None:
    found = decisions(camera(MotionSettings(gate=True, keep_alive_s=2)), [still()] * 36)
    assert [number for number, decision in enumerate(found) if decision.send] == [0, 1, 2, 3, 4, 14, 24, 34]


def test_a_keep_alive_frame_shows_no_motion() -> None:
    found = decisions(camera(MotionSettings(gate=True, keep_alive_s=2)), [still()] * 15)
    assert found[14] == GateDecision(send=True)


def test_a_can_that_is_put_down_passes_with_its_box() -> None:
    decision = decisions(camera(MotionSettings(gate=True)), [*[still()] * 15, with_a_can()])[-1]
    assert decision.send
    ((x, y, width, height),) = decision.moved
    assert x < 400 / 640 < 440 / 640 < x + width
    assert y < 160 / 360 < 220 / 360 < y + height


def test_a_change_smaller_than_min_area_does_not_pass() -> None:
    found = decisions(camera(MotionSettings(gate=True, min_area=0.05)), [*[still()] * 15, with_a_can()])
    assert found[-1] == GateDecision(send=False)


def test_regions_that_follow_motion_work_without_the_gate() -> None:
    found = decisions(camera(MotionSettings(), RegionSettings(mode="motion")), [*[still()] * 15, with_a_can()])
    assert found[5:15] == [GateDecision(send=True)] * 10
    assert len(found[15].moved) == 1


def test_the_number_of_boxes_is_limited() -> None:
    crowd = still()
    for column in range(0, 640, 80):
        crowd.picture[160:220, column : column + 20] = 200
    found = decisions(camera(MotionSettings(), RegionSettings(mode="motion", most=3)), [*[still()] * 15, crowd])
    assert len(found[15].moved) == 3


@settings(max_examples=25, deadline=None)
@given(keep_alive_s=st.floats(0.05, 5), moving=st.lists(st.booleans(), max_size=60), fps=st.floats(1, 30))
def test_no_gap_is_longer_than_the_keep_alive_or_a_frames_interval(
    keep_alive_s: float, moving: list[bool], fps: float
) -> None:
    watched = Camera(
        "till-1", Source("file", "a"), fps, 640, 85, motion=MotionSettings(gate=True, keep_alive_s=keep_alive_s)
    )
    frames = [with_a_can() if moves else still() for moves in [*moving, *[False] * 60]]
    sent_s = [number / fps for number, decision in enumerate(decisions(watched, frames, fps=fps)) if decision.send]
    longest_s = max(keep_alive_s, 1 / fps)
    assert all(after - before <= longest_s + 0.02 / fps for before, after in pairwise(sent_s))
    assert (len(frames) - 1) / fps - sent_s[-1] <= longest_s + 0.02 / fps


@pytest.mark.parametrize("size", [(64, 48), (1080, 1920)])
def test_motion_is_found_in_small_and_in_upright_pictures(size: tuple[int, int]) -> None:
    width, height = size
    empty, full = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    full[height // 3 : height // 2, width // 3 : width // 2] = 200
    found = decisions(camera(MotionSettings(gate=True)), [*[GreyFrame(empty)] * 10, GreyFrame(full)])
    assert found[-1].moved
