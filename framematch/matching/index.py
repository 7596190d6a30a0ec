"""Searches the vectors of a snapshot for the nearest products."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import faiss
import numpy as np

from framematch.catalog.snapshot import Snapshot
from framematch.core.arrays import Embeddings
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
        vectors, self._products_of_row = _distinct_rows(snapshot.embeddings, product_ids)
        self._products = snapshot.manifest.products
        self._one_view_each = len(product_ids) == self._products
        self._max_rows = self._rows = len(vectors)
        self._index: faiss.Index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        # A product with more views than a GPU returns would hide the second one, and with it the margin.
        most_views = max(Counter(product_ids).values(), default=0)
        if faiss.get_num_gpus() > 0 and most_views < _MAX_GPU_ROWS:
            self._resources = faiss.StandardGpuResources()
            self._index = faiss.index_cpu_to_gpu(self._resources, 0, self._index)
            self._max_rows = min(self._rows, _MAX_GPU_ROWS)

    def search(self, embeddings: Embeddings, k: int) -> list[tuple[Candidate, ...]]:
        """For each embedding the `k` nearest products, best first; fewer only if the catalogue has fewer.

        The views of a product count as one candidate, with the similarity of the nearest. Equally similar products are
        in the order of their ids. A GPU returns at most 2,048 views, so there products with many views can hide others
        behind the second one. `k` is at least 1.
        """
        # The index returns views: ask for more of them when one product's views leave too few products.
        wanted = min(k, self._products)
        rows = min(k if self._one_view_each else 2 * k, self._max_rows)
        while True:
            found = self._search_rows(embeddings, rows, wanted)
            if rows == self._max_rows or all(len(candidates) == wanted for candidates in found):
                return found
            rows = min(4 * rows, self._max_rows)

    def _search_rows(self, embeddings: Embeddings, rows: int, wanted: int) -> list[tuple[Candidate, ...]]:
        # OpenMP keeps this number per calling thread, so it is set here and not once at the start.
        faiss.omp_set_num_threads(SEARCH_THREADS)
        scores, found = self._index.search(np.ascontiguousarray(embeddings, np.float32), rows)
        return [self._merge(*query, wanted) for query in zip(scores.tolist(), found.tolist(), strict=True)]

    def _merge(self, scores: list[float], rows: list[int], wanted: int) -> tuple[Candidate, ...]:
        """One candidate for each product. Rows are best first, so a product's first row is its nearest view."""
        best: dict[str, float] = {}
        for score, row in zip(scores, rows, strict=True):
            if row >= 0:  # FAISS fills up with -1, for instance when an embedding contains NaN
                for product_id in self._products_of_row[row][:wanted]:
                    best.setdefault(product_id, score)
        ordered = sorted(best.items(), key=lambda found: (-found[1], found[0]))
        return tuple(Candidate(product_id, score) for product_id, score in islice(ordered, wanted))


def _distinct_rows(vectors: Embeddings, product_ids: Sequence[str]) -> tuple[Embeddings, list[tuple[str, ...]]]:
    """The rows without repetitions, in their order, and the products of each, in the order of their ids."""
    first: dict[bytes, int] = {}
    products: dict[int, set[str]] = {}
    for row, product_id in enumerate(product_ids):
        digest = hashlib.sha256(vectors[row]).digest()
        products.setdefault(first.setdefault(digest, row), set()).add(product_id)
    distinct = vectors if len(products) == len(vectors) else vectors[list(products)]
    return distinct, [tuple(sorted(ids)) for ids in products.values()]
