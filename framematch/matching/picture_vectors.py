"""Finds the vector of a picture in an index."""

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.snapshots.snapshot import RowTable
from framematch.matching.decision import MIN_LEAD
from framematch.vector_index.index import VectorIndex


class PictureVectors:
    """The pictures of a snapshot, and the vector of each. Memory: 12 bytes for each view."""

    def __init__(self, rows: RowTable, index: VectorIndex) -> None:
        self._index = index
        # A generator, so that other threads run in between.
        hashes = np.fromiter((hash(image) for image in rows.images), np.int64, len(rows.images))
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._vectors = np.fromiter((vector for vector in rows.vectors), np.int32, len(rows.vectors))[order]

    def read(self, image: str) -> tuple[int, NDArray[np.float32]] | None:
        """Number and vector [D] of the picture with this digest, or of another one with the same hash; None without."""
        place = np.searchsorted(self._hashes, hash(image))
        if place == len(self._hashes) or self._hashes[place] != hash(image):
            return None
        number = int(self._vectors[place])
        (vector,) = self._index.read(np.array([number]))
        return number, vector

    def find(self, image: str, embedding: NDArray[np.float32]) -> int | None:
        """The number of the vector of the picture with this digest, if the vector is its `embedding`; None without."""
        found = self.read(image)
        if found is None:
            return None
        number, vector = found
        # Another picture with the same hash has another embedding; the index may have half the precision.
        return number if float(vector @ embedding) > 1 - MIN_LEAD else None
