"""The types of pictures and embeddings in memory."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture `[height, width, 3]`, a batch `[N, height, width, 3]`, or brightness `[height, width]`.

Colours are blue, green, red in frames of cameras (OpenCV), and red, green, blue in pictures for the model: each
function states which.
"""
Embeddings = NDArray[np.float32]
"""[N, D]; each row has unit length unless the text says otherwise."""
