"""Searches the vectors of a snapshot, and the changes since it was built, for the nearest products."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Self

import numpy as np

from framematch.catalog.changes.delta import Delta
from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.core.arrays import Embeddings
from framematch.matching.changed_products import ChangedProducts
from framematch.matching.decision import Candidate
from framematch.matching.nearest_vectors import VectorSet, search_sets
from framematch.matching.picture_vectors import PictureVectors
from framematch.matching.vector_products import VectorProducts
from framematch.vector_index.faiss_library import load_faiss
from framematch.vector_index.flat import exact_search
from framematch.vector_index.queries import Found

# When this is imported, so that a command that searches says at once that the package is missing.
_FAISS = load_faiss()


@dataclass(frozen=True)
class Close:
    """Asks for all products that are up to `lead` less similar than the best, if that has the similarity `match`.

    Up to `most` with it.
    """

    match: float
    lead: float
    most: int

    def least(self, candidates: tuple[Candidate, ...]) -> float:
        """The similarity of a close product; inf if none is asked for."""
        best = candidates[0].score if candidates else -np.inf
        return best - self.lead if best >= self.match else np.inf


class ProductIndex:
    """The products of one snapshot, and of the changes since. Runs one search at a time.

    Products that share a picture share its vector, so they are always exactly equally similar, and none hides another.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._index = snapshot.index
        self._products_of_vector = VectorProducts(snapshot.rows, snapshot.manifest.vectors)
        self._snapshot_products = self._products_of_vector.products()
        self._pictures = PictureVectors(snapshot.rows, snapshot.index)
        self._one_view_each = snapshot.manifest.rows == snapshot.manifest.products
        self._changed: ChangedProducts | None = None
        self._products = len(self._snapshot_products)

    @property
    def products(self) -> int:
        """How many products can be found."""
        return self._products

    def with_delta(self, delta: Delta) -> Self:
        """An index with these changes, which replace all others. It shares the vectors of this one."""
        index = copy.copy(self)
        index._change(ChangedProducts.of(delta, self._pictures.find))  # noqa: SLF001  # of the same class
        return index

    def search(
        self,
        embeddings: Embeddings,
        k: int,
        product_ids: frozenset[str] | None = None,
        close: Close | None = None,
    ) -> list[tuple[Candidate, ...]]:
        """For each embedding the `k` nearest products, best first; fewer only if the catalogue has fewer.

        More with `close`, as far as it asks for them. The views of a product count as one candidate, with the
        similarity of the nearest. Equally similar products are in the order of their ids. `k` is at least 1. With
        `product_ids` only these products are searched; that search is exact, whatever the kind of the index.
        """
        products = self._products if product_ids is None else sum(map(self._is_present, product_ids))
        most = min(max(k, close.most if close else 0), products)
        sets = self._vector_sets(product_ids)
        found: list[tuple[Candidate, ...]] = [()] * len(embeddings)
        pending = list(range(len(embeddings))) if products else []
        # The index returns vectors: ask for more when views of one product, or hidden products, leave too few products.
        # Each search takes about as long as the first one, so there should be few.
        vectors, few_vectors = self._vectors_for(most if close else k), self._vectors_for(k)
        while pending:
            nearest = search_sets(sets, np.ascontiguousarray(embeddings[pending], np.float32), vectors)
            results = zip(nearest.scores.tolist(), nearest.vectors.tolist(), nearest.unseen.tolist(), strict=True)
            incomplete = []
            for query, (scores, numbers, unseen) in zip(pending, results, strict=True):
                # To merge vectors takes longer than to find some more of them, and few queries need all.
                for count in sorted({min(few_vectors, len(scores)), len(scores)}):
                    further = scores[count] if count < len(scores) else unseen
                    merged = self._merge(scores[:count], numbers[:count], most, product_ids)
                    found[query], complete = _nearest(merged, min(k, products), most, further, close)
                    if complete:
                        break
                else:
                    incomplete.append(query)
            pending, vectors = incomplete, self._more_than(vectors)
        return found

    def nearest_picture(self, embedding: Embeddings, images: Iterable[str]) -> str | None:
        """Of these pictures (SHA-256 in hexadecimal) the one most similar to [D]; None if the snapshot has none."""
        found = ((self._pictures.read(image), image) for image in images)
        scores = {image: float(read[1] @ embedding) for read, image in found if read is not None}
        return max(scores, key=lambda image: scores[image]) if scores else None

    def warm_up(self) -> None:
        """Read every page of the index once, and search."""
        self._index.warm_up()

    def _change(self, changed: ChangedProducts) -> None:
        self._changed = changed if changed.hidden else None
        hidden = len(self._snapshot_products & changed.hidden)
        self._products = len(self._snapshot_products) - hidden + len(changed.present)

    def _is_present(self, product_id: str) -> bool:
        """Whether the product can be found."""
        if self._changed is not None and product_id in self._changed.hidden:
            return product_id in self._changed.present
        return product_id in self._snapshot_products

    def _vectors_for(self, products: int) -> int:
        """How many vectors to ask for at first, for so many products."""
        vectors = products if self._one_view_each else 2 * products
        return vectors if self._changed is None else 4 * vectors

    def _more_than(self, vectors: int) -> int:
        limit = self._index.max_k
        return min(16 * vectors, limit) if vectors < limit else 16 * vectors

    def _search_index(self, queries: Embeddings, k: int) -> Found:
        """The nearest `k` vectors of the snapshot. Beyond what its index returns, every vector is compared."""
        if k <= self._index.max_k:
            return self._index.search(queries, k)
        return self._index.search_rows(queries, np.arange(self._index.vectors), k)

    def _vector_sets(self, product_ids: frozenset[str] | None) -> list[VectorSet]:
        """What is searched: the vectors of the snapshot, and those of the delta, whose numbers follow."""
        index = self._index
        sets = [VectorSet(0, index.vectors, self._search_index)]
        if product_ids is not None:
            every = range(len(self._products_of_vector))
            some = np.array([number for number in every if any(self._products_of(number, 1, product_ids))], np.int64)
            sets = [VectorSet(0, len(some), lambda queries, k: index.search_rows(queries, some, k))]
        if self._changed is not None:
            added = self._changed.vectors
            sets.append(
                VectorSet(index.vectors, len(added), lambda queries, k: exact_search(_FAISS, queries, added, k))
            )
        return [one for one in sets if one.size]

    def _merge(
        self, scores: list[float], vectors: list[int], wanted: int, product_ids: frozenset[str] | None
    ) -> tuple[Candidate, ...]:
        """One candidate for each product. Vectors are best first, so a product's first one is its nearest view."""
        best: dict[str, float] = {}
        for score, vector in zip(scores, vectors, strict=True):
            if vector >= 0:  # the index fills up with -1, for instance when an embedding contains NaN
                for product_id in self._products_of(vector, wanted, product_ids):
                    best.setdefault(product_id, score)
        ordered = sorted(best.items(), key=lambda found: (-found[1], found[0]))
        return tuple(Candidate(product_id, score) for product_id, score in islice(ordered, wanted))

    def _products_of(self, vector: int, wanted: int, product_ids: frozenset[str] | None) -> Iterable[str]:
        """The first products of a vector that can be found, in the order of their ids."""
        changed, products_of_vector = self._changed, self._products_of_vector
        if changed is None and product_ids is None:
            return products_of_vector[vector][:wanted]
        products: Iterable[str]
        if changed is None:
            products = products_of_vector[vector]
        elif vector >= len(products_of_vector):
            products = changed.products[vector - len(products_of_vector)]
        else:
            products = (key for key in products_of_vector[vector] if key not in changed.hidden)
            if vector in changed.in_index:
                products = merge(products, changed.in_index[vector])
        if product_ids is not None:
            products = (key for key in products if key in product_ids)
        return islice(products, wanted)


def _nearest(
    merged: tuple[Candidate, ...], k: int, most: int, unseen: float, close: Close | None
) -> tuple[tuple[Candidate, ...], bool]:
    """The first `k` candidates and all that are close, up to `most`; whether they are complete.

    They are, if a vector with the similarity `unseen` or less would not change them.
    """
    least = close.least(merged) if close else np.inf
    kept = k
    while kept < len(merged) and merged[kept].score >= least:
        kept += 1
    found = merged[:kept]
    in_order = len(found) == kept and found[-1].score >= unseen
    return found, unseen == -np.inf or (in_order and (kept == most or unseen < least))
