"""Builds an index of the kind that fits its size."""

from pathlib import Path

import numpy as np

from framematch.core.arrays import Embeddings
from framematch.vector_index.description import FLAT, IndexDescription, Kind
from framematch.vector_index.distinct import check_distinct
from framematch.vector_index.files import VECTORS_FILE
from framematch.vector_index.vector_file import write_vectors


def choose_kind(vectors: int, dimension: int, memory_mb: float | None = None) -> Kind:
    """The kind for this number of vectors, which a host can hold in `memory_mb`."""
    del vectors, dimension, memory_mb
    return "flat"


def build_index(vectors: Embeddings, folder: Path, kind: Kind) -> IndexDescription:
    """Write the files of an index into `folder`, and say what it is.

    `vectors`, float32 [N, D], may be memory-mapped: they are read a block at a time.

    Raises:
        ValueError: a row is no finite unit vector, or repeats another (see `distinct_rows`).
        OSError: a file cannot be written.
    """
    if kind != "flat":
        raise ValueError(f"this version builds no index of the kind {kind!r}")
    check_distinct(vectors)
    write_vectors(folder / VECTORS_FILE, vectors, np.float32)
    return FLAT
