"""Vectors in a memory-mapped file: their number is limited by the disk and not by memory."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.vector_index.vector_file import BLOCK_ROWS

_VALUE_BYTES = 4


def create_vectors(path: Path, rows: int, dimension: int) -> Embeddings:
    """A new file of zeros, mapped to write to it, float32 [rows, dimension].

    Raises:
        OSError: there is no space for it. It is taken at once: a full disk behind a mapping would kill the process.
    """
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, rows * dimension * _VALUE_BYTES)
    return np.memmap(path, np.float32, "r+", shape=(rows, dimension))


def keep_rows(vectors: Embeddings, rows: NDArray[np.int64]) -> Embeddings:
    """Move these rows, which are in ascending order, to the start, and return that part."""
    if len(rows) < len(vectors):
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            vectors[start : start + len(part)] = vectors[part]  # a row never moves behind one that is still to be read
    return vectors[: len(rows)]
