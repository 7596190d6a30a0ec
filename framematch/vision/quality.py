"""Measures whether a picture is good enough to recognise a product: sharp, bright and large enough.

Each of the three is 1 for what loses nothing, and falls to 0 in proportion; the lowest is the quality. Sharpness is the
root mean square of the Laplacian of about 56 x 56 grey cells over their standard deviation, so that neither light nor
contrast matters. What noise of up to 8 levels of 255 gives is subtracted: it is as strong everywhere, so the median
tells it, while edges are in a few places (one texture that fills the picture is taken for noise once it is blurred).
Brightness is the brightest of 14 x 14 cells, so that a product in front of a dark belt is bright. Size is the shorter
side of the region in pixels of the source: how much of them the crop enlarges cannot be seen in it.

Measured with a bundle of 224 pixels (the demo's), six views of each of 81 products, and 296 photos of
GroceryStoreDataset that it never saw; all but the first row with noise of 3 or 4 levels and JPEG quality 85. Crops of
128 pixels give the same qualities within 0.04. What moves keeps its edges along the motion, so its quality says little.

| photo | nearest product is right | quality: 1 %, 50 %, 99 % | below 0.3 |
|---|---|---|---|
| untouched | 79 % | 1.00, 1.00, 1.00 | 0 % |
| out of focus, blurred by 1 % of its size (deviation) | 60 % | 0.86, 1.00, 1.00 | 0 % |
| by 1.5 % | 43 % | 0.41, 0.86, 1.00 | 0 % |
| by 2 % | 31 % | 0.00, 0.54, 0.96 | 8 % |
| by 3 % | 19 % | 0.00, 0.24, 0.50 | 76 % |
| by 4 % | 8 % | 0.00, 0.12, 0.30 | 99 % |
| moved by 10 % of its size | 18 % | 0.72, 1.00, 1.00 | 0 % |
| by 20 % | 2 % | 0.50, 1.00, 1.00 | 0 % |
| half as bright | 73 % | 0.97, 1.00, 1.00 | 0 % |
| 0.3 of the brightness | 62 % | 0.58, 0.81, 0.94 | 0 % |
| 0.2 | 50 % | 0.38, 0.54, 0.63 | 0 % |
| 0.1 | 22 % | 0.18, 0.26, 0.31 | 93 % |
| 96 pixels | 70 % | 1.00, 1.00, 1.00 | 0 % |
| 64 pixels | 60 % | 0.80, 0.80, 0.80 | 0 % |
| 48 pixels | 44 % | 0.60, 0.60, 0.60 | 0 % |
| 32 pixels | 24 % | 0.40, 0.40, 0.40 | 0 % |
| 16 pixels | 7 % | 0.20, 0.20, 0.20 | 100 % |
| of all 3,017 photos of the dataset | | 1.00, 1.00, 1.00 | 0 % |

With these and six grades between or beyond them in equal parts, and as many untouched photos, by the least quality
that is kept:

| least quality | 0 | 0.1 | 0.2 | 0.3 | 0.4 | 0.5 | 0.6 | 0.8 | 1 |
|---|---|---|---|---|---|---|---|---|---|
| discarded | 0 % | 3 % | 9 % | 15 % | 18 % | 21 % | 23 % | 28 % | 33 % |
| right, of the rest | 57 % | 59 % | 63 % | 66 % | 67 % | 69 % | 70 % | 72 % | 73 % |
| right, of the discarded | - | 7 % | 7 % | 10 % | 10 % | 14 % | 16 % | 21 % | 25 % |
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Pixels

Flaw: TypeAlias = Literal["blurred", "dark", "small"]

_CELLS, _BRIGHT_CELLS = 56, 14
_MAD = 0.6745  # the median of the absolute values of a normal distribution with deviation 1
# From these on nothing is lost. About half of the accuracy is left at half of each.
_SHARPNESS, _BRIGHTNESS, _SIDE_PX = 0.25, 80.0, 80


@dataclass(frozen=True)
class Quality:
    """From 0 to 1, in steps of 0.001, and what lowers it most; None when nothing does."""

    value: float
    reason: Flaw | None


def quality_of(rgb: Pixels, side_px: int) -> Quality:
    """The quality of a crop, uint8 [H, W, 3], of a region whose shorter side has `side_px` pixels in its source.

    About 0.03 ms for 224 x 224 pixels.
    """
    cells = _cells(rgb)
    brightest = float(cv2.resize(cells, (_BRIGHT_CELLS, _BRIGHT_CELLS), interpolation=cv2.INTER_AREA).max())
    parts: dict[Flaw, float] = {
        "blurred": _sharpness(cells) / _SHARPNESS,
        "dark": brightest / _BRIGHTNESS,
        "small": side_px / _SIDE_PX,
    }
    flaw = min(parts, key=parts.__getitem__)
    return Quality(round(parts[flaw], 3), flaw) if parts[flaw] < 1 else Quality(1.0, None)


def _cells(rgb: Pixels) -> NDArray[np.float32]:
    """The means of squares of whole pixels, which is three times as fast as with parts of them; about 56 on a side."""
    # Not rounded to whole levels: the errors would look like detail.
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    step = max(1, round(min(grey.shape) / _CELLS))
    height, width = grey.shape[0] // step, grey.shape[1] // step
    cells = grey[: height * step, : width * step]
    while step > 1:
        # In two steps 4 x 4 takes a quarter of the time: OpenCV has fast code for 2 x 2.
        factor = 2 if step % 2 == 0 else step
        step //= factor
        cells = np.asarray(cv2.resize(cells, (width * step, height * step), interpolation=cv2.INTER_AREA), np.float32)
    return cells


def _sharpness(cells: NDArray[np.float32]) -> float:
    """How much of the deviation of [n, n] is in edges; 0 for one colour."""
    edges = cv2.Laplacian(cells, cv2.CV_32F)
    middle = edges.size // 2
    noise = float(np.partition(np.abs(edges), middle, axis=None)[middle]) / _MAD
    contrast = float(cv2.meanStdDev(cells)[1][0, 0])
    variance = cv2.norm(edges) ** 2 / edges.size - noise**2
    return math.sqrt(max(variance, 0.0)) / contrast if contrast else 0.0
