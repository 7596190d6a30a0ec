"""Vectors for the tests of an index, and indexes of them."""

from pathlib import Path
from typing import Final

import numpy as np

from framematch.core.arrays import Embeddings
from framematch.vector_index.build import build_index
from framematch.vector_index.description import IndexDescription, Kind
from framematch.vector_index.index import VectorIndex, open_index

KINDS: Final[tuple[Kind, ...]] = ("flat", "hnsw", "rabitq")


def unit_vectors(count: int, dimension: int = 48, seed: int = 0) -> Embeddings:
    """Random directions."""
    return of_unit_length(np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32))


def grouped_vectors(count: int, dimension: int = 48, seed: int = 0) -> Embeddings:
    """Directions in groups of about twenty, which have something in common, as embeddings do."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((-(-count // 20), dimension)) + 1
    around = rng.standard_normal((count, dimension)) * 0.5
    return of_unit_length((centres[rng.integers(0, len(centres), count)] + around).astype(np.float32))


def of_unit_length(vectors: Embeddings) -> Embeddings:
    """The directions of these vectors."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def opened(folder: Path, description: IndexDescription, vectors: Embeddings) -> VectorIndex:
    """The index of `vectors` in `folder`."""
    return open_index(folder, description, vectors=len(vectors), dimension=vectors.shape[1])


def built(folder: Path, vectors: Embeddings, kind: Kind) -> VectorIndex:
    """An index of `vectors`, built and opened."""
    return opened(folder, build_index(vectors, folder, kind), vectors)
