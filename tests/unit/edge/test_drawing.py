"""Regions, masks and motion are drawn in the right places."""

import cv2
import numpy as np
import pytest

from edge.drawing import draw_regions
from edge.worker.encode import encode_jpeg
from framematch.core.arrays import Pixels
from framematch.core.settings import MaskSettings

GREY = 128


def drawn(*args: object, size: tuple[int, int] = (320, 180)) -> Pixels:
    """A grey picture on which `draw_regions` has drawn `args`."""
    grey = np.full((size[1], size[0], 3), GREY, np.uint8)
    jpeg = draw_regions(encode_jpeg(grey, quality=95), *args)  # type: ignore[arg-type]  # in their order
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def is_drawn(area: Pixels) -> bool:
    return bool(np.abs(area.astype(int) - GREY).max() > 60)


def test_the_picture_keeps_its_size() -> None:
    assert drawn([], size=(641, 361)).shape == (361, 641, 3)


def test_without_anything_to_draw_the_picture_is_unchanged() -> None:
    assert not is_drawn(drawn([]))


def test_a_region_is_outlined() -> None:
    picture = drawn([(100, 50, 120, 80)])
    for side in (picture[50:130, 100], picture[50:130, 219], picture[50, 100:220], picture[129, 100:220]):
        assert is_drawn(side)
        assert (side[:, 1].astype(int) > side[:, 2]).mean() > 0.9  # green
    assert not is_drawn(picture[:, :90])


def test_regions_are_numbered_differently() -> None:
    picture = drawn([(0, 0, 100, 100), (150, 0, 100, 100)])
    assert np.abs(picture[8:90, 8:90].astype(int) - picture[8:90, 158:240]).max() > 60


def test_a_mask_is_hatched_and_the_rest_is_not() -> None:
    picture = drawn([], [MaskSettings(polygon=((0.5, 0), (1, 0), (1, 1), (0.5, 1)))])
    assert is_drawn(picture[40:80, 220:260])
    assert not is_drawn(picture[:, :140])


def test_what_moved_is_outlined() -> None:
    picture = drawn([], [], [(0.5, 0.5, 0.25, 0.25)])
    assert is_drawn(picture[90:135, 158:163])
    assert not is_drawn(picture[100:125, 170:230])


@pytest.mark.parametrize("region", [(0, 0, 1, 1), (319, 179, 1, 1), (0, 0, 320, 180)])
def test_any_region_of_the_picture_can_be_drawn(region: tuple[int, int, int, int]) -> None:
    assert drawn([region]).shape == (180, 320, 3)


@pytest.mark.parametrize("nothing", [b"", b"no picture"])
def test_what_is_no_jpeg_is_a_value_error(nothing: bytes) -> None:
    with pytest.raises(ValueError, match="no JPEG"):
        draw_regions(nothing, [])
