"""The nearest of many vectors by an exact search in one pass, with little memory."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings

_BLOCK_ROWS = 2_048

Excluded = Callable[[slice], NDArray[np.bool_]]
"""For a part of the vectors, which of them are left out for which query: bool [queries, vectors of the part]."""


def nearest(
    queries: Embeddings, vectors: Embeddings, excluded: Excluded | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The highest similarity of each query and the vector that has it, both [queries]; the first of several.

    `vectors`, [N, D], may be memory-mapped: they are read once, a block at a time. Where all vectors are left out, the
    similarity is -inf.
    """
    highest = np.full(len(queries), -np.inf, np.float32)
    found = np.zeros(len(queries), np.int64)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        part = slice(start, min(start + _BLOCK_ROWS, len(vectors)))
        similarity = queries @ vectors[part].T
        if excluded is not None:
            similarity[excluded(part)] = -np.inf
        best = similarity.argmax(axis=1)
        value = similarity[np.arange(len(queries)), best]
        better = value > highest
        highest[better], found[better] = value[better], best[better] + start
    return highest, found
