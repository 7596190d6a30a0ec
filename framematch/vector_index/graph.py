"""HNSW: a graph in which each vector is linked to near ones, and a search that follows the links.

FAISS builds the graph and searches it, but reads none of its files: its parser trusts what it finds in them. The parts
of the graph are plain arrays, which are checked here. Vectors and links stay where they are mapped.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.vector_index.array_file import map_array, touch_pages, write_array
from framematch.vector_index.faiss_library import load_faiss, use_all_cores, use_search_threads, view_of
from framematch.vector_index.files import LEVELS_FILE, LINKS_FILE
from framematch.vector_index.parameters import checked_parameters
from framematch.vector_index.vector_file import BLOCK_ROWS

# FAISS's defaults, 40 and 16, find too little. More links cost memory and search time, and found hardly more.
LINKS: Final = 32
EF_CONSTRUCTION: Final = 200
EF_SEARCH: Final = (64, 128, 256, 512, 1_024, 2_048, 4_096)
_BOUNDS = {"M": (2, 256), "efConstruction": (1, 2**16), "efSearch": (1, 2**16)}


class HnswGraph:
    """The graph over mapped vectors of half precision, [N, D]."""

    def __init__(self, folder: Path, vectors: NDArray[np.float16], parameters: dict[str, int]) -> None:
        checked_parameters(parameters, _BOUNDS | {"entryPoint": (0, len(vectors) - 1)})
        self._faiss = load_faiss()
        self._vectors = vectors
        levels = map_array(folder / LEVELS_FILE, np.uint8, (len(vectors),))
        self._index = _empty(self._faiss, vectors.shape[1], parameters["M"])
        hnsw = self._index.hnsw
        up_to_level = self._faiss.vector_to_array(hnsw.cum_nneighbor_per_level)
        if not 1 <= levels.min() <= levels.max() < len(up_to_level):
            raise ValueError(f"{LEVELS_FILE} has {levels.min()} to {levels.max()} levels, which cannot be")
        ends = np.append(0, np.cumsum(up_to_level[levels])).astype(np.uint64)
        self._links = map_array(folder / LINKS_FILE, np.int32, (int(ends[-1]),))
        _check_links(self._links, levels, ends, up_to_level)
        if levels[parameters["entryPoint"]] != levels.max():
            raise ValueError(f"row {parameters['entryPoint']} is no entry into the graph")
        view_of(self._faiss, self._faiss.downcast_index(self._index.storage).codes, _bytes_of(vectors))
        view_of(self._faiss, hnsw.neighbors, self._links)
        self._faiss.copy_array_to_vector(levels.astype(np.int32), hnsw.levels)
        self._faiss.copy_array_to_vector(ends, hnsw.offsets)
        hnsw.entry_point, hnsw.max_level = parameters["entryPoint"], int(levels.max()) - 1
        self._index.ntotal = self._index.storage.ntotal = len(vectors)
        self.use(parameters)

    def use(self, parameters: dict[str, int]) -> None:
        """Search with other parameters."""
        self._index.hnsw.efSearch = parameters["efSearch"]

    def candidates(self, queries: Embeddings, k: int) -> NDArray[np.int64]:
        """The rows that are probably the nearest `k`, [n, k]; -1 where none is found."""
        use_search_threads(self._faiss)
        return np.asarray(self._index.search(queries, k)[1], np.int64)

    def warm_up(self) -> None:
        """Read all pages of the links."""
        touch_pages(self._links)

    def close(self) -> None:
        """Free the graph before what it points to."""
        del self._index, self._links, self._vectors


def build_graph(vectors: Embeddings, folder: Path) -> list[dict[str, int]]:
    """Write the graph of float32 [N, D], and return parameters of a search, the fastest first.

    Memory: the vectors in half precision and the links.
    """
    faiss = load_faiss()
    use_all_cores(faiss)
    index = _empty(faiss, vectors.shape[1], LINKS)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    for start in range(0, len(vectors), BLOCK_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK_ROWS]))
    write_array(folder / LEVELS_FILE, faiss.vector_to_array(index.hnsw.levels).astype(np.uint8))
    links = index.hnsw.neighbors
    write_array(folder / LINKS_FILE, np.asarray(faiss.rev_swig_ptr(links.data(), links.size())))
    fixed = {"M": LINKS, "efConstruction": EF_CONSTRUCTION, "entryPoint": int(index.hnsw.entry_point)}
    return [fixed | {"efSearch": ef} for ef in EF_SEARCH]


def _empty(faiss: Any, dimension: int, links: int) -> Any:
    """A graph without vectors, of half precision and by inner product; it needs no training."""
    index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, links, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = index.storage.is_trained = True
    return index


def _bytes_of(vectors: NDArray[np.float16]) -> NDArray[np.uint8]:
    return vectors.reshape(-1).view(np.uint8)


def _check_links(
    links: NDArray[np.int32], levels: NDArray[np.uint8], ends: NDArray[np.uint64], up_to_level: NDArray[np.int32]
) -> None:
    """Refuse links to vectors that do not exist, or do not exist on their level: FAISS would follow them."""
    for start in range(0, len(links), 2**22):
        part = links[start : start + 2**22]
        if part.min() < -1 or part.max() >= len(levels):
            raise ValueError(f"{LINKS_FILE} has a link to a vector that does not exist")
    starts = ends[:-1].astype(np.int64)
    for level, (first, last) in enumerate(pairwise(up_to_level)):
        above = starts[levels > level]
        if level and len(above):
            linked = links[above[:, None] + np.arange(first, last)]
            if (levels[linked[linked >= 0]] <= level).any():
                raise ValueError(f"{LINKS_FILE} has a link to a vector that is not on its level")
