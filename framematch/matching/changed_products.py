"""The rows that a delta adds to an index, and the products whose rows it hides."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.delta import Delta
from framematch.core.arrays import Embeddings


@dataclass(frozen=True, eq=False)
class ChangedProducts:
    """A delta as it is searched.

    Attributes:
        hidden: the products whose rows in the base do not count: they were changed or removed.
        vectors: what is searched beside the base, float32 [N, D], each once.
        products: the products of each of the vectors, in the order of their ids.
        of_base_rows: changed products with the vector of a base's row. They are found with that row, so that products
            with the same picture are exactly equally similar.
    """

    hidden: frozenset[str]
    vectors: Embeddings
    products: tuple[tuple[str, ...], ...]
    of_base_rows: dict[int, tuple[str, ...]]

    @property
    def present(self) -> int:
        """How many products the delta has; the others were removed."""
        return len(set().union(*self.products, *self.of_base_rows.values()))


def changed_products(delta: Delta, base_row: Callable[[NDArray[np.float32]], int | None]) -> ChangedProducts:
    """The changes of a delta. `base_row` returns the base's row that has this vector, if there is one."""
    by_vector: dict[bytes, tuple[NDArray[np.float32], set[str]]] = {}
    for product_id, entry in delta.changes.items():
        for vector in entry.embeddings:
            by_vector.setdefault(vector.tobytes(), (vector, set()))[1].add(product_id)
    vectors: list[NDArray[np.float32]] = []
    products: list[tuple[str, ...]] = []
    of_base_rows: dict[int, tuple[str, ...]] = {}
    for vector, product_ids in by_vector.values():
        if (row := base_row(vector)) is None:
            vectors.append(vector)
            products.append(_in_order(product_ids))
        else:
            of_base_rows[row] = _in_order(product_ids)
    return ChangedProducts(
        frozenset(delta.changes),
        np.array(vectors, np.float32) if vectors else np.empty((0, 0), np.float32),
        tuple(products),
        of_base_rows,
    )


def _in_order(product_ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(product_ids))
