"""Which products have a vector of the index."""

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.snapshots.snapshot import RowTable

_BLOCK_ROWS = 8_192


class VectorProducts:
    """The products of each vector, by its number. Memory: 12 bytes for each view.

    Arrays and no list of lists: millions of small objects are slow to make, and to free, and Python's garbage collector
    would look at all of them, while every thread waits.
    """

    def __init__(self, rows: RowTable, vectors: int) -> None:
        of_rows = np.empty(len(rows.vectors), np.int32)
        for start in range(0, len(of_rows), _BLOCK_ROWS):  # other threads run in between
            of_rows[start : start + _BLOCK_ROWS] = rows.vectors[start : start + _BLOCK_ROWS]
        self._product_ids = rows.product_ids
        self._one_row_each = np.array_equal(of_rows, np.arange(vectors))  # as when no two views look the same
        self._rows: NDArray[np.int32] = np.argsort(of_rows, kind="stable").astype(np.int32)
        self._starts = np.zeros(vectors + 1, np.int64)
        np.cumsum(np.bincount(of_rows, minlength=vectors), out=self._starts[1:])

    def __len__(self) -> int:
        """The number of vectors."""
        return len(self._starts) - 1

    def __getitem__(self, vector: int) -> tuple[str, ...]:
        """The products of a vector, each once, in the order of their ids."""
        if self._one_row_each:
            return (self._product_ids[vector],)
        start, stop = self._starts.item(vector), self._starts.item(vector + 1)
        if stop - start == 1:
            return (self._product_ids[self._rows.item(start)],)
        return tuple(sorted({self._product_ids[row] for row in self._rows[start:stop].tolist()}))

    def products(self) -> set[str]:
        """All products."""
        found: set[str] = set()
        for start in range(0, len(self._product_ids), _BLOCK_ROWS):
            found.update(self._product_ids[start : start + _BLOCK_ROWS])
        return found
