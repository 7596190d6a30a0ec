"""An index that proposes candidates, and compares these with the query exactly.

A threshold is about cosines. What a compressed index takes for a cosine is another number, so only exact ones leave it.
The vectors are stored in half precision and brought back to unit length when they are read: a vector has a cosine of 1
with itself, within 1e-6.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.vector_index.array_file import touch_pages
from framematch.vector_index.faiss_library import load_faiss
from framematch.vector_index.flat import search_among
from framematch.vector_index.queries import Found, best, checked_queries, dummy_rows, nothing

# What follows the last of `k` results by its inexact score may be ahead of it by the exact one.
_EXTRA_CANDIDATES = 16
_MAX_K = 2_048


class Candidates(Protocol):
    """Proposes rows that are probably the nearest."""

    def use(self, parameters: dict[str, int]) -> None:
        """Search with other parameters."""

    def candidates(self, queries: Embeddings, k: int) -> NDArray[np.int64]:
        """At least `k` rows for each query, float32 [n, D] -> [n, >= k]; -1 where there is none."""

    def warm_up(self) -> None:
        """Read all pages of the files."""

    def close(self) -> None:
        """Free what is mapped."""


class RescoredIndex:
    """Candidates from one side, exact cosines from the vectors: float16 [N, D], mapped."""

    def __init__(self, candidates: Candidates, vectors: NDArray[np.float16]) -> None:
        self._candidates, self._vectors = candidates, vectors
        self.vectors, self.dimension = vectors.shape
        self.max_k = min(self.vectors, _MAX_K)

    def use(self, parameters: dict[str, int]) -> None:
        """Search with other parameters."""
        self._candidates.use(parameters)

    def search(self, queries: Embeddings, k: int) -> Found:
        """The nearest `k` of the candidates."""
        checked = checked_queries(queries, self.dimension)
        cosines, rows = nothing(len(checked), k)
        if not len(checked):
            return cosines, rows
        proposed = self._candidates.candidates(checked, min(k, self.max_k) + _EXTRA_CANDIDATES)
        proposed[np.isnan(checked).any(axis=1)] = -1
        for query, (vector, candidates) in enumerate(zip(checked, proposed, strict=True)):
            known = candidates[candidates >= 0]
            # Not by BLAS: it would start threads.
            exact = np.einsum("ij,j->i", self.read(known), vector)
            found = best(exact[None], known[None], k)
            cosines[query, : len(known)], rows[query, : len(known)] = found[0][0], found[1][0]
        return cosines, rows

    def search_rows(self, queries: Embeddings, rows: NDArray[np.int64], k: int) -> Found:
        """The nearest `k` of these rows."""
        return search_among(load_faiss(), checked_queries(queries, self.dimension), self.read, rows, k)

    def read(self, rows: NDArray[np.int64]) -> Embeddings:
        """The vectors of these rows, of unit length in single precision."""
        read = self._vectors[rows].astype(np.float32)
        read /= np.sqrt(np.einsum("ij,ij->i", read, read))[:, None]
        return read

    def warm_up(self) -> None:
        """Read all pages, and search."""
        touch_pages(self._vectors)
        self._candidates.warm_up()
        for rows in dummy_rows(self.vectors):
            self.search(self.read(rows), 1)

    def close(self) -> None:
        """Free the candidates' index, which points to the vectors, and unmap these."""
        self._candidates.close()
        del self._candidates, self._vectors
