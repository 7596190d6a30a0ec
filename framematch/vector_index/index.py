"""Opens an index of any kind; what a search can rely on, whatever the kind."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.vector_index.description import IndexDescription, Kind
from framematch.vector_index.distinct import check_distinct
from framematch.vector_index.files import VECTORS_FILE
from framematch.vector_index.flat import FlatIndex
from framematch.vector_index.graph import HnswGraph
from framematch.vector_index.lists import RabitqLists
from framematch.vector_index.parameters import checked_parameters
from framematch.vector_index.queries import Found
from framematch.vector_index.rescored import RescoredIndex
from framematch.vector_index.vector_file import map_vectors


class VectorIndex(Protocol):
    """Vectors of unit length, by row, and the search for the nearest. Runs one search at a time.

    Searches return cosines and rows, both [n, k], best first. Where nothing is found the row is -1 and the cosine
    -inf; so it is for a query that contains NaN.
    """

    @property
    def vectors(self) -> int:
        """The number of vectors."""

    @property
    def dimension(self) -> int:
        """The number of values of each."""

    @property
    def max_k(self) -> int:
        """The largest `k` of a search."""

    def search(self, queries: Embeddings, k: int) -> Found:
        """The nearest `k` vectors of each query, float32 [n, D], with exact cosines.

        Raises:
            ValueError: a query is not of unit length, or of another dimension.
        """

    def search_rows(self, queries: Embeddings, rows: NDArray[np.int64], k: int) -> Found:
        """The nearest `k` among the vectors of `rows`, by an exact search of these; errors as for `search`."""

    def read(self, rows: NDArray[np.int64]) -> Embeddings:
        """The vectors of these rows, float32 [n, D]."""

    def warm_up(self) -> None:
        """Read every page of the files once, and search, so that the first real search is as fast as the others."""

    def close(self) -> None:
        """Unmap the files. Nothing may be called afterwards."""


def open_index(folder: Path, description: IndexDescription, *, vectors: int, dimension: int) -> VectorIndex:
    """The index in `folder`, verified, whoever wrote it: its type and size, and distinct finite unit vectors.

    Raises:
        ValueError: it is not what `description`, `vectors` and `dimension` say; the message says what is wrong.
        OSError: a file cannot be read.
    """
    if min(vectors, dimension) < 1:
        raise ValueError(f"an index of {vectors} vectors of {dimension} dimensions cannot be")
    if description.kind == "flat":
        checked_parameters(description.parameters, {})
        return FlatIndex(folder, vectors=vectors, dimension=dimension)
    return open_rescored(folder, description.kind, description.parameters, vectors=vectors, dimension=dimension)


def open_rescored(
    folder: Path, kind: Kind, parameters: dict[str, int], *, vectors: int, dimension: int
) -> RescoredIndex:
    """The same for an index that is not flat."""
    mapped = map_vectors(folder / VECTORS_FILE, vectors, dimension, np.float16)
    check_distinct(mapped)
    candidates = (HnswGraph if kind == "hnsw" else RabitqLists)(folder, mapped, parameters)
    return RescoredIndex(candidates, mapped)
