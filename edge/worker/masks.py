"""Masks: areas in which motion is ignored, and that are painted black before a frame is sent."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Pixels
from framematch.core.settings import MaskSettings

_BLACK = (0.0, 0.0, 0.0)
_FILL = 255.0
_SHIFT = 4  # fractional bits of a corner: OpenCV draws to 1/16 pixel


def hide(picture: Pixels, masks: Iterable[MaskSettings]) -> Pixels:
    """Paint the masks that hide black in a copy of `picture`, [height, width, 3]; without any, return `picture`.

    Every pixel that a mask touches is black.
    """
    hiding = [mask for mask in masks if mask.hide]
    if not hiding:
        return picture
    painted = picture.copy()
    for mask in hiding:
        _paint(painted, mask, _BLACK)
    return painted


def ignored(masks: Iterable[MaskSettings], size: tuple[int, int]) -> Pixels:
    """Where a picture of `size` (width, height) is masked: 255 there and 0 elsewhere, [height, width]."""
    width, height = size
    masked = np.zeros((height, width), np.uint8)
    for mask in masks:  # one by one: in one call, OpenCV would leave out areas that two polygons share
        _paint(masked, mask, (_FILL,))
    return masked


def corners(mask: MaskSettings, size: tuple[int, int], *, shift: int = 0) -> NDArray[np.int32]:
    """The polygon's corners on a picture of `size` (width, height), [corners, 2], in 1 / 2**shift pixels.

    The centre of a pixel has integer coordinates.
    """
    return np.asarray(np.round((np.array(mask.polygon) * size - 0.5) * 2**shift), np.int32)


def _paint(picture: Pixels, mask: MaskSettings, colour: tuple[float, ...]) -> None:
    height, width = picture.shape[:2]
    points = [corners(mask, (width, height), shift=_SHIFT)]
    cv2.fillPoly(picture, points, colour, shift=_SHIFT)
    # Filling leaves out pixels that are covered in part; the outline covers those.
    cv2.polylines(picture, points, isClosed=True, color=colour, thickness=2, shift=_SHIFT)
