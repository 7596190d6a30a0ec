"""Finds vectors that are there more than once.

Copies of one vector in a graph are linked to each other and hide all others, and a search cannot tell their products
apart anyway. So an index has each vector once, and its user knows which products share it.
"""

import numpy as np
from numpy.typing import NDArray

from framematch.vector_index.vector_file import BLOCK_ROWS, Vectors


def distinct_rows(vectors: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that are the first of their kind, in order, and for each row the place of its first one among them.

    `vectors`, [N, D], are compared as an index stores them: two that are equal in half precision are equal. Memory: a
    few integers for each row, and blocks of rows. So `vectors[rows][numbers]` are the vectors, but for rounding.
    """
    firsts = _first_equal_rows(vectors)
    rows = np.flatnonzero(firsts == np.arange(len(firsts))).astype(np.int64)
    return rows, np.searchsorted(rows, firsts).astype(np.int64)


def check_distinct(vectors: Vectors) -> None:
    """Refuse vectors of which two are equal.

    Raises:
        ValueError: a row repeats an earlier one.
    """
    firsts = _first_equal_rows(vectors)
    if (repeated := np.flatnonzero(firsts != np.arange(len(firsts)))).size:
        raise ValueError(f"row {repeated[0]} repeats row {firsts[repeated[0]]}")


def _first_equal_rows(vectors: Vectors) -> NDArray[np.int64]:
    """For each row the first one that equals it, which may be itself."""
    hashes = _hashes(vectors)
    order = np.argsort(hashes, kind="stable")
    new_hash = np.append(True, hashes[order][1:] != hashes[order][:-1]) if len(order) else np.empty(0, bool)
    starts = np.flatnonzero(new_hash)
    ends = np.append(starts[1:], len(order))
    firsts = np.arange(len(order), dtype=np.int64)
    for number in np.flatnonzero(ends - starts > 1):
        first: dict[bytes, int] = {}
        for row in order[starts[number] : ends[number]]:  # in order, as the sort is stable
            firsts[row] = first.setdefault(_half(vectors[row]).tobytes(), row)
    return firsts


def _hashes(vectors: Vectors) -> NDArray[np.uint64]:
    """One number for each row; equal rows have the same."""
    words = -(-vectors.shape[1] // _WORD_VALUES)
    factors = np.random.default_rng(0).integers(0, 2**63, words, np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = np.empty(len(vectors), np.uint64)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = _half(vectors[start : start + BLOCK_ROWS])
        padded = np.pad(block, ((0, 0), (0, words * _WORD_VALUES - block.shape[1])))
        hashes[start : start + len(block)] = padded.view(np.uint64) @ factors
    return hashes


def _half(vectors: Vectors) -> NDArray[np.float16]:
    return np.ascontiguousarray(vectors, np.float16)


_WORD_VALUES = 4  # values of half precision in a word of 64 bits
