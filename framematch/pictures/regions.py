"""Regions of a picture: clipped to it, and cut out of it, also when it was decoded at a reduced size."""

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.core.frames import Region


def clipped(region: Region, width: int, height: int) -> Region:
    """The part of a box that is inside a picture of this size.

    Raises:
        PictureError: `region`, when no part of it is.
    """
    x, y, box_width, box_height = region
    right, bottom = min(x + box_width, width), min(y + box_height, height)
    if x >= right or y >= bottom:
        raise PictureError("region", f"has {width} x {height} pixels, and the box {list(region)} is outside of it")
    return x, y, right - x, bottom - y


def cut(picture: Pixels, region: Region, reduction: int = 1) -> Pixels:
    """The pixels [h, w, 3] of a region: a view of `picture`, which may be reduced; `region` is in full-size pixels."""
    x, y, width, height = region
    right, bottom = -(-(x + width) // reduction), -(-(y + height) // reduction)
    return picture[y // reduction : bottom, x // reduction : right]
