"""Checks the table of a snapshot's views, a block at a time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class RowChecks:
    """Adds up blocks of rows, whoever wrote them, and says what is wrong with them together.

    Python's lock is released between two blocks and while numpy sorts, so that a consumer can go on while a table of a
    million rows is read: a set of a million pairs would stop all its threads for a second.
    """

    def __init__(self) -> None:
        self._products: dict[str, int] = {}
        self._of_rows: list[NDArray[np.int64]] = []
        self._views: list[NDArray[np.int64]] = []
        self._vectors: list[NDArray[np.int64]] = []
        self._rows, self._same_length = 0, True

    def add(
        self, product_ids: Sequence[str], views: Sequence[int], images: Sequence[str], vectors: Sequence[int]
    ) -> None:
        """Add a block; OverflowError if a number is too large."""
        products, count = self._products, len(product_ids)
        self._same_length = self._same_length and count == len(views) == len(images) == len(vectors)
        numbers = (products.setdefault(product_id, len(products)) for product_id in product_ids)
        self._of_rows.append(np.fromiter(numbers, np.int64, count))
        self._views.append(np.array(views, np.int64))
        self._vectors.append(np.array(vectors, np.int64))
        self._rows += count

    def problem(self, rows: int, products: int, vectors: int) -> str:
        """What does not agree with these numbers of a manifest, each 1 or more; empty when everything does."""
        if self._rows != rows or not self._same_length:
            return f"does not have {rows} rows"
        if len(self._products) != products:
            return f"does not have {products} products"
        of_rows, views, found = map(np.concatenate, (self._of_rows, self._views, self._vectors))
        if found.min() < 0 or found.max() >= vectors or not np.bincount(found, minlength=vectors).all():
            return f"does not have {vectors} vectors"
        if views.min() < 0 or views.max() >= rows:
            return "has a view without a number"
        pairs = of_rows * rows + views
        pairs.sort()
        return "has a view twice" if (pairs[1:] == pairs[:-1]).any() else ""
