"""How a decoded picture is meant to be seen: the shape that its pixels have, and which way is up."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from framematch.core.arrays import Pixels

# Pixels are at most this much wider than high, or higher than wide: anything else is a mistake of who wrote it. The
# most that is used is 2 (half of the lines, or of the columns, of a picture).
_ASPECT_MAX = 4
_MATRIX = struct.Struct("=9i")
_QUARTER_TURN = 90


@dataclass(frozen=True)
class Orientation:
    """What makes a decoded picture upright: first `transposed`, then mirrored along an axis or both."""

    transposed: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def apply(self, picture: Pixels) -> Pixels:
        """A view of `picture`, [height, width] or [height, width, channels], that is upright."""
        turned = picture.swapaxes(0, 1) if self.transposed else picture
        return turned[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


UPRIGHT = Orientation()
# Counterclockwise by 0, 90, 180 and 270 degrees.
_TURNS = (UPRIGHT, Orientation(True, False, True), Orientation(False, True, True), Orientation(True, True, False))


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """How to turn and mirror `frame`, by the display matrix of its container or codec."""
    try:
        data: Any = frame.side_data  # PyAV's type hints name one kind only
        return _orientation_by(bytes(data["DISPLAYMATRIX"])) if len(data) else UPRIGHT
    except KeyError:
        return UPRIGHT
    except ValueError:  # PyAV does not know the kind of another piece of side data, and then gives none of them
        return _TURNS[round(frame.rotation / _QUARTER_TURN) % len(_TURNS)]


def _orientation_by(matrix: bytes) -> Orientation:
    """Of FFmpeg's display matrix (`libavutil/display.h`): x' = a x + c y, y' = b x + d y. Turns between are rounded."""
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix[: _MATRIX.size])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, mirror_x=c < 0, mirror_y=b < 0)
    return Orientation(mirror_x=a < 0, mirror_y=d < 0)


def display_size(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels of a picture whose pixels are `pixel_aspect` times as wide as high.

    The side that has too few pixels becomes longer, as in players. None means square pixels, and so does what cannot
    be right.
    """
    if pixel_aspect is None or not Fraction(1, _ASPECT_MAX) <= pixel_aspect <= _ASPECT_MAX:
        return width, height
    if pixel_aspect >= 1:
        return math.floor(width * pixel_aspect + Fraction(1, 2)), height
    return width, math.floor(height / pixel_aspect + Fraction(1, 2))
