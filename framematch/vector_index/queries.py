"""What all kinds of an index share: checked queries, and a search that compares a query with every vector."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import UNIT_LENGTH_TOLERANCE, Embeddings

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Cosines and rows, both [n, k], best first; -inf and -1 where there is nothing."""

WARM_UP_QUERIES = 64
WARM_UP_BATCH = 16


def checked_queries(queries: Embeddings, dimension: int) -> Embeddings:
    """The queries as FAISS needs them, float32 [n, D] without gaps.

    Raises:
        ValueError: a query is not of unit length, so that its inner products are no cosines. One with NaN passes.
    """
    if queries.ndim != 2 or queries.shape[1] != dimension:  # noqa: PLR2004  # [n, D]
        raise ValueError(f"queries of shape {list(queries.shape)}, the index has {dimension} dimensions")
    checked = np.ascontiguousarray(queries, np.float32)
    squared = np.einsum("ij,ij->i", checked, checked)
    if (wrong := np.flatnonzero(np.abs(squared - 1.0) > UNIT_LENGTH_TOLERANCE)).size:
        raise ValueError(f"query {wrong[0]} has the length {squared[wrong[0]] ** 0.5:.3f}, not 1")
    return checked


def nothing(queries: int, k: int) -> Found:
    """The result of a search that finds nothing."""
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64)


def without_missing(found: Found, queries: Embeddings) -> Found:
    """What FAISS found, with -inf where there is no row, and nothing for a query that contains NaN."""
    cosines, rows = found
    rows[np.isnan(queries).any(axis=1)] = -1
    cosines[rows < 0] = -np.inf
    return cosines, rows


def best(cosines: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> Found:
    """The best `k` of candidates, both [n, c], in order; equal ones in the order of their rows."""
    order = np.lexsort((rows, -cosines), axis=1)[:, :k]
    return np.take_along_axis(cosines, order, 1), np.take_along_axis(rows, order, 1)


def dummy_rows(vectors: int) -> Iterator[NDArray[np.int64]]:
    """Rows of an index that serve as queries when it is warmed up, in batches."""
    rows = np.linspace(0, vectors - 1, WARM_UP_QUERIES).astype(np.int64)
    for start in range(0, WARM_UP_QUERIES, WARM_UP_BATCH):
        yield rows[start : start + WARM_UP_BATCH]
