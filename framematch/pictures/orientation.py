"""The orientation tag of EXIF: one of eight ways in which a camera can be held or mirrored."""

import numpy as np

from framematch.core.arrays import Pixels

_FIRST_ON_ITS_SIDE, _LAST = 5, 8


def lies_on_its_side(orientation: int) -> bool:
    """Whether width and height are exchanged when the picture is upright."""
    return _FIRST_ON_ITS_SIDE <= orientation <= _LAST


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels [h, w, 3] as they are shown; an orientation that does not exist changes nothing."""
    turned = {
        2: lambda: pixels[:, ::-1],
        3: lambda: pixels[::-1, ::-1],
        4: lambda: pixels[::-1],
        5: lambda: pixels.swapaxes(0, 1),
        6: lambda: np.rot90(pixels, -1),
        7: lambda: pixels[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(pixels),
    }.get(orientation, lambda: pixels)()
    return np.ascontiguousarray(turned)
