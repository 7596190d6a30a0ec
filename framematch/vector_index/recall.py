"""How much of an exact search an index finds."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.vector_index.faiss_library import use_all_cores
from framematch.vector_index.queries import Found
from framematch.vector_index.vector_file import BLOCK_ROWS

QUERIES: Final = 1_000
_K = 10
_COSINES_AROUND_MEAN = (0.4, 0.9)
# Rounding to half precision changes a cosine by about 1e-5, so within this a vector is as near as another.
_SAME_COSINE = 1e-4


class Searchable(Protocol):
    """What recall is measured of."""

    def search(self, queries: Embeddings, k: int) -> Found:
        """The nearest `k` of each query."""


@dataclass(frozen=True)
class ExactResult:
    """Queries, float32 [n, D], and the cosines of their nearest vectors, [n, up to 10], best first."""

    queries: Embeddings
    cosines: NDArray[np.float32]

    @classmethod
    def of(cls, faiss: Any, vectors: Embeddings) -> "ExactResult":
        """The same for up to 1,000 vectors that are turned away from those in float32 [N, D]."""
        return cls.of_queries(faiss, vectors, disturbed(vectors, min(QUERIES, len(vectors))))

    @classmethod
    def of_queries(cls, faiss: Any, vectors: Embeddings, queries: Embeddings) -> "ExactResult":
        """Search in float32 [N, D], a block at a time, on all cores."""
        k = min(_K, len(vectors))
        nearest = np.full((len(queries), k), -np.inf, np.float32)
        use_all_cores(faiss)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = np.ascontiguousarray(vectors[start : start + BLOCK_ROWS])
            found = faiss.knn(queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)[0]
            nearest = -np.sort(-np.hstack([nearest, found]), axis=1)[:, :k]
        return cls(queries, nearest)

    def recall(self, found: Found) -> tuple[float, float]:
        """The share of the nearest one, and of the nearest ten, that a search found."""
        cosines = found[0][:, : self.cosines.shape[1]]
        first = cosines[:, 0] >= self.cosines[:, 0] - _SAME_COSINE
        near = cosines >= self.cosines[:, -1:] - _SAME_COSINE
        return float(first.mean()), float(near.mean())

    def recall_of(self, index: Searchable) -> tuple[float, float]:
        """The recall of a search for ten, in batches."""
        parts = [index.search(self.queries[start : start + 64], _K) for start in range(0, len(self.queries), 64)]
        return self.recall((np.vstack([part[0] for part in parts]), np.vstack([part[1] for part in parts])))


def disturbed(vectors: Embeddings, count: int) -> Embeddings:
    """`count` vectors turned away from what is stored, as a camera's view differs from the picture of its product.

    Each is turned around the mean of all, in the direction between two others, so it stays where embeddings are: a
    random direction leads away from all of them, and would make the search easy. Its cosine with the stored vector is
    about 0.6 to 0.95. Every vector is as likely as another, also one that few others have as a neighbour.
    """
    rng = np.random.default_rng(0)
    stored, one, other = (vectors[np.sort(rng.choice(len(vectors), count))] for _ in range(3))
    mean = np.concatenate([stored, one, other]).mean(axis=0)
    lengths, own = _lengths_and_directions(stored - mean)
    away = one[rng.permutation(count)] - other
    _, away = _lengths_and_directions(away - np.einsum("ij,ij->i", away, own)[:, None] * own)
    cosines = rng.uniform(*_COSINES_AROUND_MEAN, (count, 1)).astype(np.float32)
    turned = mean + lengths * (cosines * own + np.sqrt(1 - cosines**2) * away)
    turned[~turned.any(axis=1)] = 1  # of a single vector, which is the mean itself, nothing is left
    return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True), np.float32)


def _lengths_and_directions(vectors: Embeddings) -> tuple[Embeddings, Embeddings]:
    """The lengths, [n, 1], and the vectors of unit length; those of length 0 stay so."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return lengths, vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
