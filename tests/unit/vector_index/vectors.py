"""Vectors for the tests of an index."""

import numpy as np

from framematch.core.arrays import Embeddings


def unit_vectors(count: int, dimension: int = 48, seed: int = 0) -> Embeddings:
    """Random directions."""
    values = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)
