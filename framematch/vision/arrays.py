"""Types of the arrays that go through the model."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""RGB: one picture [h, w, 3], or a batch of one size [N, h, w, 3]."""

Embeddings: TypeAlias = npt.NDArray[np.float32]
"""[N, D]; each row has unit length unless the text says otherwise."""
