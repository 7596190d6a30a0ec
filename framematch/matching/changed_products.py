"""The vectors that a delta adds to an index, and the products whose vectors in it do not count any more."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.changes.delta import Delta
from framematch.core.arrays import Embeddings

VectorOfPicture = Callable[[str, NDArray[np.float32]], int | None]
"""The number of the index's vector that has this picture (SHA-256 in hexadecimal) with this embedding; None without."""


@dataclass(frozen=True, eq=False)
class ChangedProducts:
    """A delta as it is searched.

    Attributes:
        hidden: all products that were changed or removed: their vectors in the index do not count.
        present: those of them that have pictures now.
        vectors: what is searched beside the index, float32 [N, D], each once.
        products: the products of each of these vectors, in the order of their ids.
        in_index: products of vectors in the index, which have the same picture. They are found with it, so that
            products that share a picture are exactly equally similar.
    """

    hidden: frozenset[str]
    present: frozenset[str]
    vectors: Embeddings
    products: tuple[tuple[str, ...], ...]
    in_index: dict[int, tuple[str, ...]]

    @classmethod
    def of(cls, delta: Delta, vector_of_picture: VectorOfPicture) -> "ChangedProducts":
        """The changes of a delta."""
        own: dict[bytes, tuple[NDArray[np.float32], set[str]]] = {}
        in_index: dict[int, set[str]] = {}
        seen: dict[str, NDArray[np.float32]] = {}
        for product_id, entry in delta.changes.items():
            for view, embedding in zip(entry.views, entry.embeddings, strict=True):
                # Two embeddings of a picture may differ by a rounding error.
                vector = seen.setdefault(view.image, embedding)
                if (number := vector_of_picture(view.image, vector)) is None:
                    own.setdefault(vector.tobytes(), (vector, set()))[1].add(product_id)
                else:
                    in_index.setdefault(number, set()).add(product_id)
        return cls(
            hidden=frozenset(delta.changes),
            present=frozenset(key for key, entry in delta.changes.items() if not entry.removed),
            vectors=np.array([vector for vector, _ in own.values()], np.float32),
            products=tuple(_in_order(products) for _, products in own.values()),
            in_index={number: _in_order(products) for number, products in in_index.items()},
        )


def _in_order(product_ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(product_ids))
