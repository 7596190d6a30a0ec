"""The exact search: each query is compared with every vector."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.vector_index.array_file import touch_pages
from framematch.vector_index.distinct import check_distinct
from framematch.vector_index.faiss_library import load_faiss, use_search_threads
from framematch.vector_index.files import VECTORS_FILE
from framematch.vector_index.queries import Found, best, checked_queries, dummy_rows, nothing, without_missing
from framematch.vector_index.vector_file import BLOCK_ROWS, map_vectors

_MAX_GPU_K = 2_048  # FAISS's limit of neighbours on a GPU


class FlatIndex:
    """A file of float32, memory-mapped and searched where it lies; a copy on the GPU when FAISS finds one."""

    def __init__(self, folder: Path, *, vectors: int, dimension: int) -> None:
        self._faiss = load_faiss()
        self._vectors = map_vectors(folder / VECTORS_FILE, vectors, dimension, np.float32)
        check_distinct(self._vectors)
        self.vectors, self.dimension, self.max_k = vectors, dimension, vectors
        self._gpu = None
        if self._faiss.get_num_gpus() > 0:
            self._gpu_resources = self._faiss.StandardGpuResources()  # has to outlive the index
            self._gpu = _on_gpu(self._faiss, self._gpu_resources, self._vectors)

    def search(self, queries: Embeddings, k: int) -> Found:
        """The nearest `k` vectors of each query. On a GPU a search for more than 2,048 runs on the CPU."""
        checked = checked_queries(queries, self.dimension)
        if not len(checked):
            return nothing(0, k)
        if self._gpu is not None and k <= _MAX_GPU_K:
            return without_missing(self._gpu.search(checked, k), checked)
        return exact_search(self._faiss, checked, self._vectors, k)

    def search_rows(self, queries: Embeddings, rows: NDArray[np.int64], k: int) -> Found:
        """The nearest `k` of these rows."""
        return search_among(self._faiss, checked_queries(queries, self.dimension), self.read, rows, k)

    def read(self, rows: NDArray[np.int64]) -> Embeddings:
        """The vectors of these rows."""
        return np.asarray(self._vectors[rows])

    def warm_up(self) -> None:
        """Read all pages, and search."""
        touch_pages(self._vectors)
        for rows in dummy_rows(self.vectors):
            self.search(self.read(rows), 1)

    def close(self) -> None:
        """Unmap the file, and free the GPU's memory."""
        del self._vectors, self._gpu


def exact_search(faiss: Any, queries: Embeddings, vectors: Embeddings, k: int) -> Found:
    """Compare each query with each of the vectors, which are not copied."""
    use_search_threads(faiss)
    return without_missing(faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT), queries)


def search_among(
    faiss: Any,
    queries: Embeddings,
    read: Callable[[NDArray[np.int64]], Embeddings],
    rows: NDArray[np.int64],
    k: int,
) -> Found:
    """Compare each query with the vectors of some rows, a block at a time.

    FAISS's own filters are not used: a graph finds too little with them, and some kinds ignored them.
    """
    found = nothing(len(queries), k)
    for start in range(0, len(rows) if len(queries) else 0, BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        cosines, places = exact_search(faiss, queries, read(part), min(k, len(part)))
        part_rows = np.where(places < 0, -1, part[places])
        found = best(np.hstack([found[0], cosines]), np.hstack([found[1], part_rows]), k)
    return found


def _on_gpu(faiss: Any, resources: Any, vectors: Embeddings) -> Any:
    index = faiss.GpuIndexFlatIP(resources, vectors.shape[1])
    for start in range(0, len(vectors), BLOCK_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK_ROWS]))
    return index
