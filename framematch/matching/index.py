"""Searches the vectors of a snapshot, and the changes since it was built, for the nearest products."""

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Self

import faiss
import numpy as np
from numpy.typing import NDArray

from framematch.catalog.delta import Delta
from framematch.catalog.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.changed_products import ChangedProducts, changed_products
from framematch.matching.decision import Candidate

# FAISS uses BLAS only from this many queries x dimensions. Its default of 128,000 leaves batches below 250 of 512
# dimensions to a plain loop. Measured over 20,000 x 512 on one core, loop against BLAS in ms: 1 query 1.4 and 3.7,
# 3 queries 4.3 and 4.3, 16 queries 22.8 and 5.9. So: from 4 queries of 512 dimensions on.
BLAS_THRESHOLD = 2_000
# Consumers scale by processes, one a core; two threads were slower than one with small batches.
SEARCH_THREADS = 1
_MAX_GPU_ROWS = 2_048  # FAISS's limit of neighbours on a GPU


class ProductIndex:
    """An index of one snapshot, on the GPU when FAISS finds one. Runs one search at a time.

    Products that share a picture share its row, so they are always exactly equally similar, and none hides another.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        faiss.cvar.distance_compute_blas_threshold = BLAS_THRESHOLD
        product_ids = snapshot.rows.product_ids
        vectors, self._products_of_row, self._row_of_digest = _distinct_rows(snapshot.embeddings, product_ids)
        self._base_products = frozenset(product_ids)
        self._products = len(self._base_products)
        self._one_view_each = len(product_ids) == self._products
        self._changed: ChangedProducts | None = None
        self._max_rows = self._rows = len(vectors)
        self._index: faiss.Index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        # A product with more views than a GPU returns would hide the second one, and with it the margin.
        most_views = max(Counter(product_ids).values(), default=0)
        if faiss.get_num_gpus() > 0 and most_views < _MAX_GPU_ROWS:
            self._resources = faiss.StandardGpuResources()
            self._index = faiss.index_cpu_to_gpu(self._resources, 0, self._index)
            self._max_rows = min(self._rows, _MAX_GPU_ROWS)

    def with_delta(self, delta: Delta) -> Self:
        """An index with these changes, which replace all others. It shares the vectors of this one."""
        changed = changed_products(delta, lambda vector: self._row_of_digest.get(_digest(vector)))
        index = copy.copy(self)
        index._changed = changed if delta.changes else None  # noqa: SLF001  # its own class
        index._products = len(self._base_products - changed.hidden) + changed.present  # noqa: SLF001
        return index

    def search(self, embeddings: Embeddings, k: int) -> list[tuple[Candidate, ...]]:
        """For each embedding the `k` nearest products, best first; fewer only if the catalogue has fewer.

        The views of a product count as one candidate, with the similarity of the nearest. Equally similar products are
        in the order of their ids. A GPU returns at most 2,048 views, so there products with many views can hide others
        behind the second one. `k` is at least 1.
        """
        # OpenMP keeps this number per calling thread, so it is set here and not once at the start.
        faiss.omp_set_num_threads(SEARCH_THREADS)
        wanted = min(k, self._products)
        found: list[tuple[Candidate, ...]] = [()] * len(embeddings)
        pending = np.arange(len(embeddings))
        # The index returns views, also of products that the delta hides: ask for more when they leave too few products.
        rows = k if self._one_view_each else 2 * k
        while len(pending):
            queries = np.ascontiguousarray(embeddings[pending], np.float32)
            scores, numbers, unseen = self._nearest_rows(queries, rows)
            incomplete = []
            for query, *rest in zip(pending.tolist(), scores.tolist(), numbers.tolist(), unseen.tolist(), strict=True):
                found[query] = self._merge(rest[0], rest[1], wanted)
                if rest[2] > -np.inf and not _has(found[query], wanted, rest[2]):
                    incomplete.append(query)
            pending = np.array(incomplete, np.int64)
            rows *= 4
        return found

    def _nearest_rows(self, queries: Embeddings, rows: int) -> "_Nearest":
        """The nearest rows of the base and of the delta, whose numbers follow those of the base."""
        scores, numbers = self._index.search(queries, min(rows, self._max_rows))
        unseen = _unseen(scores, numbers, self._max_rows)
        if self._changed is None or not len(self._changed.vectors):
            return scores, numbers, unseen
        added = self._changed.vectors
        more_scores, more = faiss.knn(queries, added, min(rows, len(added)), metric=faiss.METRIC_INNER_PRODUCT)
        unseen = np.maximum(unseen, _unseen(more_scores, more, len(added)))
        scores = np.hstack([scores, more_scores])
        numbers = np.hstack([numbers, np.where(more < 0, -1, more + self._rows)])
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1), unseen

    def _merge(self, scores: list[float], rows: list[int], wanted: int) -> tuple[Candidate, ...]:
        """One candidate for each product. Rows are best first, so a product's first row is its nearest view."""
        best: dict[str, float] = {}
        for score, row in zip(scores, rows, strict=True):
            if row >= 0:  # FAISS fills up with -1, for instance when an embedding contains NaN
                for product_id in self._products_of(row, wanted):
                    best.setdefault(product_id, score)
        ordered = sorted(best.items(), key=lambda found: (-found[1], found[0]))
        return tuple(Candidate(product_id, score) for product_id, score in islice(ordered, wanted))

    def _products_of(self, row: int, wanted: int) -> Iterable[str]:
        """The first `wanted` products of a row, in the order of their ids."""
        if self._changed is None:
            return self._products_of_row[row][:wanted]
        if row >= self._rows:
            return self._changed.products[row - self._rows][:wanted]
        hidden = self._changed.hidden
        unchanged = (product_id for product_id in self._products_of_row[row] if product_id not in hidden)
        return islice(merge(unchanged, self._changed.of_base_rows.get(row, ())), wanted)


_Nearest = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]
"""Similarities and row numbers, both [n, rows], best first, -1 where there is no row; and `_unseen`, [n]."""


def _unseen(scores: NDArray[np.float32], rows: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """For each query the highest similarity that a row may have which was not returned; -inf when all were."""
    if rows.shape[1] == size:
        return np.full(len(rows), -np.inf, np.float32)
    return np.where(rows[:, -1] < 0, -np.inf, scores[:, -1]).astype(np.float32)


def _has(candidates: tuple[Candidate, ...], wanted: int, unseen: float) -> bool:
    """Whether further rows, up to this similarity, would not change the candidates."""
    return len(candidates) == wanted and candidates[-1].score >= unseen


def _distinct_rows(
    vectors: Embeddings, product_ids: Sequence[str]
) -> tuple[Embeddings, list[tuple[str, ...]], dict[bytes, int]]:
    """The rows without repetitions, in their order, the products of each, by id, and the row of each digest."""
    rows: dict[bytes, int] = {}
    firsts: list[int] = []
    products: list[set[str]] = []
    for row, product_id in enumerate(product_ids):
        number = rows.setdefault(_digest(vectors[row]), len(firsts))
        if number == len(firsts):
            firsts.append(row)
            products.append(set())
        products[number].add(product_id)
    distinct = vectors if len(firsts) == len(vectors) else vectors[firsts]
    return distinct, [tuple(sorted(ids)) for ids in products], rows


def _digest(vector: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(vector.tobytes()).digest()
