"""The one type of pictures in memory."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Pixels of one picture: `[height, width, 3]` in the order blue, green, red; or brightness `[height, width]`."""
