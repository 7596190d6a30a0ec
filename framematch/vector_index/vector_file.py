"""The file with the vectors of an index, in single or half precision."""

from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings, invalid_rows
from framematch.vector_index.array_file import array_header, map_array

PrecisionT = TypeVar("PrecisionT", np.float32, np.float16)
Vectors = NDArray[np.float32] | NDArray[np.float16]
"""[N, D]"""

BLOCK_ROWS: Final = 8_192


def write_vectors(path: Path, vectors: Embeddings, precision: type[PrecisionT]) -> None:
    """Write float32 [N, D] in this precision, a block at a time.

    Raises:
        ValueError: a row is no finite unit vector.
    """
    with path.open("wb") as file:
        file.write(array_header(precision, vectors.shape))
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = np.ascontiguousarray(vectors[start : start + BLOCK_ROWS])
            _check_rows(block, start)
            file.write(block.astype(np.dtype(precision).newbyteorder("<"), copy=False).data)


def map_vectors(path: Path, rows: int, dimension: int, precision: type[PrecisionT]) -> NDArray[PrecisionT]:
    """The vectors in the file, [rows, dimension] in this precision, each of about unit length.

    Raises:
        ValueError: the file is of another type or size, or a row is no finite unit vector.
        OSError: it cannot be read.
    """
    vectors = map_array(path, precision, (rows, dimension))
    for start in range(0, rows, BLOCK_ROWS):
        _check_rows(vectors[start : start + BLOCK_ROWS].astype(np.float32, copy=False), start)
    return vectors


def _check_rows(block: Embeddings, start: int) -> None:
    if (invalid := invalid_rows(block)).size:
        raise ValueError(f"row {start + invalid[0]} is no finite unit vector")
