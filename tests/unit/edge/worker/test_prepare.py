"""A frame is prepared by the settings of its camera: size, masks, regions."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from edge.cameras import Camera
from edge.sources import Source
from edge.worker.encode import scale_down
from edge.worker.gate import GateDecision
from edge.worker.prepare import prepare
from framematch.core.arrays import Pixels
from framematch.core.settings import MaskSettings, RegionSettings

CAMERA = Camera("till-1", Source("file", "video.mp4"), fps=5, max_side=640, jpeg_quality=95)
TOP_LEFT = MaskSettings(polygon=((0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5)))


@dataclass(frozen=True)
class ColourFrame:
    """A decoded picture of which only the colours are needed."""

    picture: Pixels

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.shape[1], self.picture.shape[0]

    def grey(self, width: int) -> Pixels:
        raise AssertionError(width)

    def colour(self, max_side: int) -> Pixels:
        return scale_down(self.picture, max_side)


@dataclass(frozen=True)
class UnreadableFrame(ColourFrame):
    """A decoded picture whose conversion fails with `error`."""

    error: Exception

    def colour(self, max_side: int) -> Pixels:
        del max_side
        raise self.error


def grey_frame(width: int = 1920, height: int = 1080) -> ColourFrame:
    return ColourFrame(np.full((height, width, 3), 128, np.uint8))


def decoded(jpeg: bytes) -> Pixels:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_by_default_the_whole_picture_is_the_region() -> None:
    prepared = prepare(grey_frame(), GateDecision(send=True), CAMERA)
    assert prepared.regions == ()
    assert decoded(prepared.jpeg).shape == (360, 640, 3)


def test_what_a_mask_hides_is_not_in_the_jpeg() -> None:
    picture = decoded(prepare(grey_frame(), GateDecision(send=True), replace(CAMERA, masks=(TOP_LEFT,))).jpeg)
    assert picture[:176, :312].max() < 3
    assert abs(int(picture[200:, 340:].mean()) - 128) < 3


def test_regions_are_in_pixels_of_the_jpeg() -> None:
    watched = replace(CAMERA, regions=RegionSettings(mode="boxes", boxes=((0.5, 0.5, 0.5, 0.5),)))
    assert prepare(grey_frame(), GateDecision(send=True), watched).regions == ((320, 180, 320, 180),)


def test_regions_follow_what_moved() -> None:
    watched = replace(CAMERA, regions=RegionSettings(mode="motion"))
    decision = GateDecision(send=True, moved=((0.25, 0.25, 0.5, 0.5),))
    assert prepare(grey_frame(), decision, watched).regions == ((160, 90, 320, 180),)


@pytest.mark.parametrize("error", [ValueError("not that format"), cv2.error("not that format")])
def test_a_picture_that_cannot_be_converted_is_a_value_error(error: Exception) -> None:
    frame = UnreadableFrame(grey_frame().picture, error)
    with pytest.raises(ValueError, match=r"not that format|cannot be converted"):
        prepare(frame, GateDecision(send=True), CAMERA)


def test_a_picture_without_pixels_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        prepare(ColourFrame(np.zeros((0, 0, 3), np.uint8)), GateDecision(send=True), CAMERA)
