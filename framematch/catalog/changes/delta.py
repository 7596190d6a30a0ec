"""The changes of single products since a snapshot was built, which are searched with it. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from framematch.catalog.products import View
from framematch.core.arrays import Embeddings

DELTA_ROWS_MAX: Final = 5_000
"""Of the changes since the active snapshot. Each search compares with all of them, so more would make it slower."""


@dataclass(frozen=True, eq=False)
class DeltaEntry:
    """A change of one product: it was removed, or has these views now, whose embeddings are float32 [views, D]."""

    number: int
    product_id: str
    removed: bool
    views: tuple[View, ...]
    embeddings: Embeddings


@dataclass(frozen=True, eq=False)
class Delta:
    """The changes that are searched with a snapshot: the last one of each product.

    `number` is that of the newest change. A build contains all changes up to a number, with which its delta starts.
    """

    number: int
    changes: Mapping[str, DeltaEntry] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def rows(self) -> int:
        """What counts towards `DELTA_ROWS_MAX`: the views of changed products, and one for each removed one."""
        return sum(delta_rows(len(entry.views)) for entry in self.changes.values())

    def with_entries(self, entries: Iterable[DeltaEntry]) -> "Delta":
        """This delta with the changes that follow it, in the order of their numbers.

        Of several changes of a product only the last one is needed.

        Raises:
            ValueError: they are in another order.
        """
        number, changes = self.number, dict(self.changes)
        for entry in entries:
            if entry.number <= number:
                raise ValueError(f"change {entry.number} comes after change {number}")
            number = entry.number
            changes[entry.product_id] = entry
        return Delta(number, MappingProxyType(changes))


def delta_rows(views: int) -> int:
    """What a product with this number of views counts; without views it is removed."""
    return max(views, 1)
