"""Draws regions with their numbers, masks, and what moved into a JPEG. For a dry run."""

from collections.abc import Sequence

import cv2
import numpy as np

from edge.worker.encode import encode_jpeg
from edge.worker.masks import corners, ignored
from edge.worker.regions import boxes_in_pixels
from framematch.core.arrays import Pixels
from framematch.core.frames import Region
from framematch.core.settings import Box, MaskSettings

# Blue, green, red.
_REGION = (0.0, 200.0, 0.0)
_MASK = (60.0, 60.0, 255.0)
_MOVED = (0.0, 190.0, 255.0)
_SHADOW = (0.0, 0.0, 0.0)

_QUALITY = 90
_HATCH_PX, _STROKE_PX = 12, 3
_FONT_PX = 22  # height at scale 1


def draw_regions(
    jpeg: bytes, regions: Sequence[Region], masks: Sequence[MaskSettings] = (), moved: Sequence[Box] = ()
) -> bytes:
    """Draw on `jpeg` and return a JPEG of the same size.

    `regions` are green and numbered from 1 in their order, masks are hatched in red, `moved` has thin amber outlines.

    Raises:
        ValueError: `jpeg` is not a JPEG.
    """
    picture = _decode(jpeg)
    height, width = picture.shape[:2]
    _hatch(picture, masks)
    for box in boxes_in_pixels(moved, (width, height)):
        _outline(picture, box, _MOVED, thickness=1)
    for number, region in enumerate(regions, start=1):
        _outline(picture, region, _REGION, thickness=2)
        _label(picture, region, str(number))
    return encode_jpeg(picture, quality=_QUALITY)


def _decode(jpeg: bytes) -> Pixels:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags) if jpeg else None
    if picture is None:
        raise ValueError(f"{len(jpeg)} bytes are no JPEG")
    return np.asarray(picture, np.uint8)


def _hatch(picture: Pixels, masks: Sequence[MaskSettings]) -> None:
    """Draw diagonal lines over each mask, and its outline."""
    height, width = picture.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    strokes = (rows + columns) % _HATCH_PX < _STROKE_PX
    picture[strokes & (ignored(masks, (width, height)) > 0)] = _MASK
    for mask in masks:
        cv2.polylines(picture, [corners(mask, (width, height))], isClosed=True, color=_MASK, thickness=2)


def _outline(picture: Pixels, box: Region, colour: tuple[float, float, float], *, thickness: int) -> None:
    x, y, width, height = box
    cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), colour, thickness)


def _label(picture: Pixels, region: Region, text: str) -> None:
    """Write `text` into the region's top left corner, as large as fits and readable on any background."""
    x, y, _, height = region
    scale = min(0.8, max(0.3, height / 2 / _FONT_PX))
    at = x + 4, y + 4 + round(_FONT_PX * scale)
    for colour, thickness in ((_SHADOW, 3), (_REGION, 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
