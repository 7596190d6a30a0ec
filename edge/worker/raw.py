"""A decoded picture before it is converted: each conversion costs as much as decoding, so none is done in advance."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""Pixels `[height, width, 3]`, BGR."""
Grey = NDArray[np.uint8]
"""Brightness `[height, width]`."""


class RawFrame(Protocol):
    """One picture of a source, as its decoder left it. Any thread may convert it, one at a time."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    def grey(self, width: int) -> Grey:
        """Its brightness, scaled to about `width` pixels across (never enlarged), its shape kept."""

    def colour(self, max_side: int) -> Picture:
        """Its colours, scaled so that the longer side is at most `max_side` pixels (never enlarged).

        Raises:
            ValueError: it cannot be converted.
        """
