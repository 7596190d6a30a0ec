"""Searches several sets of vectors as if they were one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.vector_index.queries import Found


@dataclass(frozen=True)
class VectorSet:
    """A set of vectors that is searched: the number of its first one, how many a search can return, and the search."""

    first: int
    size: int
    search: Callable[[Embeddings, int], Found]


@dataclass(frozen=True)
class Nearest:
    """The nearest vectors of each query, [n, …], best first: similarities, and numbers, which are -1 for no vector.

    `unseen`, [n], is the highest similarity that a vector may have which was not returned; -inf when all were.
    """

    scores: NDArray[np.float32]
    vectors: NDArray[np.int64]
    unseen: NDArray[np.float32]


def search_sets(sets: Sequence[VectorSet], queries: Embeddings, k: int) -> Nearest:
    """The nearest vectors, up to `k` of each set, which has at least one."""
    results = [_search(one, queries, k) for one in sets]
    if len(results) == 1:
        return results[0]
    scores = np.hstack([result.scores for result in results])
    vectors = np.hstack([result.vectors for result in results])
    order = np.argsort(-scores, axis=1, kind="stable")
    return Nearest(
        np.take_along_axis(scores, order, 1),
        np.take_along_axis(vectors, order, 1),
        np.maximum.reduce([result.unseen for result in results]),
    )


def _search(one: VectorSet, queries: Embeddings, k: int) -> Nearest:
    scores, vectors = one.search(queries, min(k, one.size))
    if one.first:
        vectors = np.where(vectors < 0, -1, vectors + one.first)
    # A search that finds fewer fills up with -inf.
    unseen = scores[:, -1] if k < one.size else np.full(len(scores), -np.inf, np.float32)
    return Nearest(scores, vectors, unseen)
