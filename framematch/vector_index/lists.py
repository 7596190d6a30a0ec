"""IVF with RaBitQ: vectors in lists around centroids, as one bit for each value; a search reads the nearest lists.

As for the graph, FAISS computes but reads no file: it maps the lists, whose sizes are checked here.
"""

import math
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings, invalid_rows
from framematch.vector_index.array_file import map_array, touch_pages, write_array
from framematch.vector_index.faiss_library import load_faiss, use_all_cores, use_search_threads
from framematch.vector_index.files import CENTROIDS_FILE, LIST_SIZES_FILE, LISTS_FILE
from framematch.vector_index.parameters import checked_parameters
from framematch.vector_index.vector_file import BLOCK_ROWS

ROW_BYTES: Final = 8  # of a row's number in a list
_FACTOR_BYTES = 8  # of the two numbers beside the bits of a vector
_PROBED_LISTS: Final = (16, 32, 64, 128, 256, 512, 1_024, 2_048)
_CANDIDATES: Final = (100, 200, 400)
# FAISS warns below 39 training vectors for each centroid; more take longer and found hardly more.
_TRAINING_VECTORS_OF_LIST = 40
_MAX_LISTS = 2**18


class RabitqLists:
    """Lists in a mapped file; `vectors`, [N, D], are only counted."""

    def __init__(self, folder: Path, vectors: NDArray[np.float16], parameters: dict[str, int]) -> None:
        count, dimension = vectors.shape
        lists = parameters.get("nlist", 0)
        self._parameters = checked_parameters(
            parameters, {"nlist": (1, min(count, _MAX_LISTS)), "nprobe": (1, lists), "candidates": (1, 2**16)}
        )
        self._faiss = load_faiss()
        centroids = np.array(map_array(folder / CENTROIDS_FILE, np.float32, (lists, dimension)))
        if invalid_rows(centroids).size:
            raise ValueError(f"{CENTROIDS_FILE} has a row that is no finite unit vector")
        sizes = np.array(map_array(folder / LIST_SIZES_FILE, np.int64, (lists,)))
        if sizes.min() < 0 or sizes.max() > count or sizes.sum() != count:
            raise ValueError(f"{LIST_SIZES_FILE} does not have the sizes of lists of {count} vectors")
        self._index = _empty(self._faiss, centroids)
        path, code_bytes = folder / LISTS_FILE, self._index.code_size
        if path.stat().st_size != count * (code_bytes + ROW_BYTES):
            raise ValueError(f"{LISTS_FILE} does not have {count} vectors of {dimension} dimensions")
        self._file = np.memmap(path, np.uint8, "r")
        _check_rows(self._file, sizes, code_bytes)
        self._lists = _mapped_lists(self._faiss, path, sizes, code_bytes)
        self._index.replace_invlists(self._lists)
        self._index.ntotal = count
        self.use(parameters)

    def use(self, parameters: dict[str, int]) -> None:
        """Search with other parameters."""
        self._parameters = parameters
        self._index.nprobe = parameters["nprobe"]

    def candidates(self, queries: Embeddings, k: int) -> NDArray[np.int64]:
        """Rows that are probably near, [n, >= k]; -1 where the probed lists have no more."""
        use_search_threads(self._faiss)
        return np.asarray(self._index.search(queries, max(2 * k, self._parameters["candidates"]))[1], np.int64)

    def warm_up(self) -> None:
        """Read all pages of the lists."""
        touch_pages(self._file)

    def close(self) -> None:
        """Unmap the lists."""
        del self._index, self._lists, self._file


def build_lists(vectors: Embeddings, folder: Path) -> list[dict[str, int]]:
    """Write the lists of float32 [N, D], and return parameters of a search, the fastest first.

    Memory: the codes, and the training vectors: 40 for each list.
    """
    faiss = load_faiss()
    use_all_cores(faiss)
    lists = number_of_lists(len(vectors))
    index = _empty(faiss, _train(faiss, vectors, lists))
    for start in range(0, len(vectors), BLOCK_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK_ROWS]))
    sizes = np.array([index.invlists.list_size(number) for number in range(lists)], np.int64)
    write_array(folder / CENTROIDS_FILE, index.quantizer.reconstruct_n(0, lists))
    write_array(folder / LIST_SIZES_FILE, sizes)
    with (folder / LISTS_FILE).open("wb") as file:
        for number in np.flatnonzero(sizes).tolist():
            _write_list(faiss, index.invlists, number, file)
    probed = [number for number in _PROBED_LISTS if number < lists] + [lists] * (lists <= _PROBED_LISTS[-1])
    return [
        {"nlist": lists, "nprobe": nprobe, "candidates": candidates} for nprobe in probed for candidates in _CANDIDATES
    ]


def number_of_lists(vectors: int) -> int:
    """About four times the square root, as FAISS recommends, but no more than can be trained."""
    return max(1, min(int(2 ** round(math.log2(4 * vectors**0.5))), vectors // _TRAINING_VECTORS_OF_LIST, _MAX_LISTS))


def code_bytes(dimension: int) -> int:
    """The size of a compressed vector."""
    return -(-dimension // 8) + _FACTOR_BYTES


def _train(faiss: Any, vectors: Embeddings, lists: int) -> Embeddings:
    """The centroids, float32 [lists, D]."""
    count = min(len(vectors), lists * _TRAINING_VECTORS_OF_LIST)
    chosen = np.sort(np.random.default_rng(0).choice(len(vectors), count, replace=False))
    clusters = faiss.Kmeans(vectors.shape[1], lists, niter=10, spherical=True, min_points_per_centroid=1, seed=1)
    clusters.train(np.ascontiguousarray(vectors[chosen]))
    return np.asarray(clusters.centroids, np.float32)


def _empty(faiss: Any, centroids: Embeddings) -> Any:
    """Lists without vectors."""
    lists, dimension = centroids.shape
    quantizer = faiss.IndexFlatIP(dimension)
    quantizer.add(centroids)
    index = faiss.IndexIVFRaBitQ(quantizer, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True  # the centroids are all that is trained
    return index


def _write_list(faiss: Any, lists: Any, number: int, file: BinaryIO) -> None:
    size = lists.list_size(number)
    file.write(faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size).data)
    file.write(faiss.rev_swig_ptr(lists.get_ids(number), size).astype("<i8", copy=False).data)


def _mapped_lists(faiss: Any, path: Path, sizes: NDArray[np.int64], code_bytes: int) -> Any:
    lists = faiss.OnDiskInvertedLists()
    lists.nlist, lists.code_size = len(sizes), code_bytes
    lists.filename, lists.totsize, lists.read_only = str(path), path.stat().st_size, True
    lists.prefetch_nthread = 0  # it would start threads for each search
    lists.lists.resize(len(sizes))
    unsigned = sizes.astype(np.uint64)  # has a name, as it has to live until FAISS has read it
    lists.set_all_lists_sizes(faiss.swig_ptr(unsigned))
    lists.do_mmap()
    return lists


def _check_rows(file: NDArray[np.uint8], sizes: NDArray[np.int64], code_bytes: int) -> None:
    """Refuse lists that do not have each row once: FAISS returns what it finds there."""
    seen = np.zeros(int(sizes.sum()), bool)
    start = 0
    for size in sizes.tolist():
        rows = file[start + size * code_bytes :][: size * ROW_BYTES].view("<i8")
        start += size * (code_bytes + ROW_BYTES)
        if size and (rows.min() < 0 or rows.max() >= len(seen)):
            raise ValueError(f"{LISTS_FILE} has a row that does not exist")
        seen[rows] = True
    if not seen.all():
        raise ValueError(f"{LISTS_FILE} does not have row {int(np.argmin(seen))}")
