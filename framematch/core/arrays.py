"""The types of pictures and embeddings in memory, and what an embedding has to be."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture `[height, width, 3]`, a batch `[N, height, width, 3]`, or brightness `[height, width]`.

Colours are blue, green, red in frames of cameras (OpenCV), and red, green, blue in pictures for the model: each
function states which.
"""
Embeddings = NDArray[np.float32]
"""[N, D]; each row has unit length unless the text says otherwise."""

# As of a model in half precision: the largest accepted |length^2 - 1|.
UNIT_LENGTH_TOLERANCE: Final = 1e-2


def invalid_rows(embeddings: Embeddings) -> NDArray[np.intp]:
    """The numbers of the rows that are no finite vector of unit length."""
    squared = np.einsum("ij,ij->i", embeddings, embeddings)
    # This form of the comparison makes NaN fail too.
    return np.flatnonzero(~(np.abs(squared - 1.0) <= UNIT_LENGTH_TOLERANCE))
