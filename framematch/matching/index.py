"""Searches the index of a snapshot for the nearest products."""

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
    """The index of one snapshot, on the GPU when FAISS finds one. Runs one search at a time."""

    def __init__(self, snapshot: Snapshot) -> None:
        faiss.cvar.distance_compute_blas_threshold = BLAS_THRESHOLD
        self._product_ids = snapshot.rows.product_ids
        self._products = snapshot.manifest.products
        self._max_rows = self._rows = snapshot.index.ntotal
        self._index = snapshot.index
        if faiss.get_num_gpus() > 0:
            self._resources = faiss.StandardGpuResources()
            self._index = faiss.index_cpu_to_gpu(self._resources, 0, snapshot.index)
            self._max_rows = min(self._rows, _MAX_GPU_ROWS)

    def search(self, embeddings: Embeddings, k: int) -> list[tuple[Candidate, ...]]:
        """For each embedding the `k` nearest products, best first; fewer only if the catalogue has fewer.

        The views of a product count as one candidate, with the similarity of the nearest. A GPU returns at most 2,048
        views, so there a product with that many views can hide others. `k` is at least 1.
        """
        # The index returns views: ask for more of them when one product's views leave too few products.
        wanted = min(k, self._products)
        rows = min(k if self._rows == self._products else 2 * k, self._max_rows)
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
                best.setdefault(self._product_ids[row], score)
        return tuple(Candidate(key, score) for key, score in list(best.items())[:wanted])
