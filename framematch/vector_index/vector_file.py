"""Files of vectors in numpy's format (.npy), memory-mapped: processes of one host share their pages.

numpy's parser is not asked what a file is: nothing is read but the one header that belongs to the expected type and
number of vectors.
"""

import io
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings

PrecisionT = TypeVar("PrecisionT", np.float32, np.float16)
Vectors = NDArray[np.float32] | NDArray[np.float16]
"""[N, D], read-only."""

BLOCK_ROWS: Final = 8_192
_PAGE_BYTES = 4_096
# As of the embeddings of a model in half precision: the largest accepted |length^2 - 1|.
UNIT_LENGTH_TOLERANCE: Final = 1e-2


def write_vectors(path: Path, vectors: Embeddings, precision: type[PrecisionT]) -> None:
    """Write float32 [N, D] in this precision, a block at a time.

    Raises:
        ValueError: a row is no finite unit vector.
    """
    with path.open("wb") as file:
        file.write(_header(len(vectors), vectors.shape[1], precision))
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = np.ascontiguousarray(vectors[start : start + BLOCK_ROWS])
            _check_rows(block, start)
            file.write(block.astype(_stored(precision), copy=False).data)


def map_vectors(path: Path, rows: int, dimension: int, precision: type[PrecisionT]) -> NDArray[PrecisionT]:
    """The vectors in the file, [rows, dimension] in this precision, each of about unit length.

    Raises:
        ValueError: the file is of another type or size, or a row is no finite unit vector.
        OSError: it cannot be read.
    """
    header = _header(rows, dimension, precision)
    expected_bytes = len(header) + rows * dimension * _stored(precision).itemsize
    with path.open("rb") as file:
        if file.read(len(header)) != header or path.stat().st_size != expected_bytes:
            raise ValueError(
                f"{path.name} does not have {rows} vectors of {dimension} dimensions ({precision.__name__})"
            )
    vectors: NDArray[PrecisionT] = np.memmap(path, _stored(precision), "r", len(header), (rows, dimension))
    for start in range(0, rows, BLOCK_ROWS):
        _check_rows(vectors[start : start + BLOCK_ROWS].astype(np.float32, copy=False), start)
    return vectors


def invalid_rows(vectors: Embeddings) -> NDArray[np.intp]:
    """The numbers of the rows that are no finite vector of unit length."""
    squared = np.einsum("ij,ij->i", vectors, vectors)
    # This form of the comparison makes NaN fail too.
    return np.flatnonzero(~(np.abs(squared - 1.0) <= UNIT_LENGTH_TOLERANCE))


def touch_pages(vectors: Vectors) -> None:
    """Read each page of memory once, in order, so that later searches wait for no disk."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        vectors[start : start + BLOCK_ROWS].view(np.uint8)[:, ::_PAGE_BYTES].max(initial=0)


def _check_rows(block: Embeddings, start: int) -> None:
    if (invalid := invalid_rows(block)).size:
        raise ValueError(f"row {start + invalid[0]} is no finite unit vector")


def _stored(precision: type[PrecisionT]) -> np.dtype[PrecisionT]:
    return np.dtype(precision).newbyteorder("<")


def _header(rows: int, dimension: int, precision: type[PrecisionT]) -> bytes:
    """What numpy writes before the values; its length is a multiple of 64, so the vectors are aligned."""
    header = io.BytesIO()
    npy.write_array_header_1_0(
        header, {"descr": _stored(precision).str, "fortran_order": False, "shape": (rows, dimension)}
    )
    return header.getvalue()
