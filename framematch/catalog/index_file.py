"""The file with the vectors of a snapshot, read and written without FAISS, whose parser trusts what it reads.

The format is FAISS's own of a flat index by inner product (`IndexFlatIP`): a header of fixed size, then the vectors.
FAISS chooses what it does with a file by the type in its first four bytes, and some types open other files by name. So
nothing is read but the one header that fits the manifest.
"""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings

FLAT_INNER_PRODUCT = b"IxFI"
# Type, dimension, rows, two unused values, is trained, metric (0: inner product), number of values that follow.
_HEADER = struct.Struct("<4siqqq?iQ")
_UNUSED = 1 << 20
_VALUE_BYTES = 4
# As of the embeddings of a model in half precision: the largest accepted |length^2 - 1|.
_UNIT_LENGTH_TOLERANCE = 1e-2


def encode_vectors(vectors: Embeddings) -> bytes:
    """The file of float32 [rows, D]; FAISS can read it too."""
    return _header(*vectors.shape) + np.ascontiguousarray(vectors, "<f4").tobytes()


def read_vectors(path: Path, rows: int, dimension: int) -> Embeddings:
    """The vectors in the file, float32 [rows, dimension], each of unit length.

    Raises:
        ValueError: the file is of another type or size, or a row is no finite unit vector.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if (found := header[: len(FLAT_INNER_PRODUCT)]) != FLAT_INNER_PRODUCT:
            raise ValueError(f"its index has the type {found!r}, only {FLAT_INNER_PRODUCT!r} is read")
        expected_bytes = _HEADER.size + rows * dimension * _VALUE_BYTES
        if path.stat().st_size != expected_bytes or header != _header(rows, dimension):
            raise ValueError(f"its index does not have {rows} rows of {dimension} dimensions")
        vectors = np.fromfile(file, "<f4", rows * dimension).reshape(rows, dimension)
    if (invalid := invalid_rows(vectors)).size:
        raise ValueError(f"row {invalid[0]} of its index is no finite unit vector")
    return vectors


def invalid_rows(vectors: Embeddings) -> NDArray[np.intp]:
    """The numbers of the rows that are no finite vector of unit length."""
    squared = np.einsum("ij,ij->i", vectors, vectors)
    # This form of the comparison makes NaN fail too.
    return np.flatnonzero(~(np.abs(squared - 1.0) <= _UNIT_LENGTH_TOLERANCE))


def _header(rows: int, dimension: int) -> bytes:
    return _HEADER.pack(FLAT_INNER_PRODUCT, dimension, rows, _UNUSED, _UNUSED, True, 0, rows * dimension)
