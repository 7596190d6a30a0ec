"""Deltas for the tests."""

from collections.abc import Iterable, Mapping

import numpy as np

from framematch.catalog.changes.delta import Delta, DeltaEntry
from framematch.catalog.products import View
from framematch.core.arrays import Embeddings
from tests.unit.catalog.snapshots import image_of


def entry(number: int, product_id: str, embeddings: Embeddings | None = None) -> DeltaEntry:
    """A change to these embeddings; a removal without any."""
    rows = np.empty((0, 2), np.float32) if embeddings is None else np.asarray(embeddings, np.float32)
    views = tuple(View(image_of(row), 24, 24) for row in rows)
    return DeltaEntry(number, product_id, not len(rows), views, rows)


def delta(changes: Mapping[str, Embeddings | None] | Iterable[tuple[str, Embeddings | None]], base: int = 0) -> Delta:
    """The changes of these products, in order, behind the number `base`."""
    items = changes.items() if isinstance(changes, Mapping) else changes
    return Delta(base).with_entries(entry(base + n, key, rows) for n, (key, rows) in enumerate(items, 1))
