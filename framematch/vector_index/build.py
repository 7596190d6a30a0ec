"""Builds an index, and measures how much of an exact search it finds."""

from pathlib import Path

import numpy as np

from framematch.core.arrays import Embeddings
from framematch.vector_index.description import FLAT, IndexDescription, Kind
from framematch.vector_index.distinct import check_distinct
from framematch.vector_index.faiss_library import load_faiss
from framematch.vector_index.files import VECTORS_FILE
from framematch.vector_index.graph import build_graph
from framematch.vector_index.index import open_rescored
from framematch.vector_index.lists import build_lists
from framematch.vector_index.recall import ExactResult
from framematch.vector_index.vector_file import write_vectors


def build_index(vectors: Embeddings, folder: Path, kind: Kind) -> IndexDescription:
    """Write the files of an index into `folder`, and say what it is.

    `vectors`, float32 [N, D] and at least one, may be memory-mapped: they are read a block at a time. A flat index is
    built without FAISS. The others are searched with up to 1,000 queries, with more effort each time, until they reach
    the floor of recall; the description says what was reached, which may be less.

    Raises:
        ValueError: a row is no finite unit vector, or repeats another (see `distinct_rows`).
        OSError: a file cannot be written.
    """
    if kind == "flat":
        write_vectors(folder / VECTORS_FILE, vectors, np.float32)
        check_distinct(vectors)
        return FLAT
    write_vectors(folder / VECTORS_FILE, vectors, np.float16)
    check_distinct(vectors)
    efforts = (build_graph if kind == "hnsw" else build_lists)(vectors, folder)
    exact = ExactResult.of(load_faiss(), vectors)
    index = open_rescored(folder, kind, efforts[0], vectors=len(vectors), dimension=vectors.shape[1])
    for parameters in efforts:
        index.use(parameters)
        description = IndexDescription(kind, parameters, *exact.recall_of(index), len(exact.queries))
        if description.reaches_floor:
            break
    index.close()
    return description
