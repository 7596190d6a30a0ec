"""Searches the vectors of a snapshot for the nearest products."""

from itertools import islice

import numpy as np

from framematch.catalog.snapshot import RowTable, Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.decision import Candidate


class ProductIndex:
    """The products of one snapshot. Runs one search at a time.

    Products that share a picture share its vector, so they are always exactly equally similar, and none hides another.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._index = snapshot.index
        self._products_of_vector = _products_of_vector(snapshot.rows, snapshot.manifest.vectors)
        self._products = snapshot.manifest.products
        self._one_view_each = snapshot.manifest.rows == self._products

    def search(self, embeddings: Embeddings, k: int) -> list[tuple[Candidate, ...]]:
        """For each embedding the `k` nearest products, best first; fewer only if the catalogue has fewer.

        The views of a product count as one candidate, with the similarity of the nearest. Equally similar products are
        in the order of their ids. `k` is at least 1.
        """
        # The index returns vectors: ask for more of them when one product's views leave too few products.
        wanted = min(k, self._products)
        vectors = min(k if self._one_view_each else 2 * k, self._index.max_k)
        while True:
            found = self._search_vectors(embeddings, vectors, wanted)
            if vectors == self._index.max_k or all(len(candidates) == wanted for candidates in found):
                return found
            vectors = min(4 * vectors, self._index.max_k)

    def warm_up(self) -> None:
        """Read every page of the index once, and search."""
        self._index.warm_up()

    def _search_vectors(self, embeddings: Embeddings, vectors: int, wanted: int) -> list[tuple[Candidate, ...]]:
        scores, found = self._index.search(np.ascontiguousarray(embeddings, np.float32), vectors)
        return [self._merge(*query, wanted) for query in zip(scores.tolist(), found.tolist(), strict=True)]

    def _merge(self, scores: list[float], vectors: list[int], wanted: int) -> tuple[Candidate, ...]:
        """One candidate for each product. Vectors are best first, so a product's first one is its nearest view."""
        best: dict[str, float] = {}
        for score, vector in zip(scores, vectors, strict=True):
            if vector >= 0:  # the index fills up with -1, for instance when an embedding contains NaN
                for product_id in self._products_of_vector[vector][:wanted]:
                    best.setdefault(product_id, score)
        ordered = sorted(best.items(), key=lambda found: (-found[1], found[0]))
        return tuple(Candidate(product_id, score) for product_id, score in islice(ordered, wanted))


def _products_of_vector(rows: RowTable, vectors: int) -> list[tuple[str, ...]]:
    """The products of each vector, in the order of their ids."""
    products: list[set[str]] = [set() for _ in range(vectors)]
    for vector, product_id in zip(rows.vectors, rows.product_ids, strict=True):
        products[vector].add(product_id)
    return [tuple(sorted(ids)) for ids in products]
