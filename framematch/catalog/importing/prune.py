"""Deletes the products that a catalogue file does not have, if they are few."""

import re
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from framematch.catalog.mongo import mongo_errors
from framematch.catalog.product import MAX_ID_CHARACTERS
from framematch.catalog.products import ProductStore
from framematch.core.errors import CatalogError, UsageError

DEFAULT_PRUNE_MAX: Final = 0.1
SHOWN_PRODUCTS: Final = 20
_BATCH: Final = 1_000
_WHOLE: Final = 100  # per cent
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", re.ASCII)


def parse_prune_max(text: str) -> float:
    """A share that is written as `10%` or `2.5 %`.

    Raises:
        UsageError: it is no percentage from 0 to 100.
    """
    match = _PERCENT.fullmatch(text.strip())
    if not match or (percent := float(match[1])) > _WHOLE:
        raise UsageError(f"--prune-max {text!r} is no percentage from 0% to 100%", hint="Write for instance 10%")
    return percent / _WHOLE


@dataclass(frozen=True)
class LackingProducts:
    """Products that the file lacks: their ids, id and name of the first ones, and how many products there were."""

    ids: tuple[str, ...]
    first: tuple[tuple[str, str], ...]
    catalogue: int

    @property
    def share(self) -> float:
        """Which part of the catalogue they are."""
        return len(self.ids) / max(self.catalogue, len(self.ids), 1)

    def check(self, max_share: float) -> None:
        """Check that they are few enough to be deleted.

        Raises:
            CatalogError: they are more than `max_share` of the catalogue.
        """
        if self.share > max_share:
            raise CatalogError(
                f"{len(self.ids)} of {self.catalogue} products are not in the file; that is {_percent(self.share)}, "
                f"and at most {_percent(max_share)} may be deleted",
                hint="None was deleted. Is the file complete? --prune-max 100% (over REST prune_max=1) deletes them",
            )


async def lacking_products(
    store: ProductStore, kept: Container[str], began_at: datetime, added: int
) -> LackingProducts:
    """The products that are not `kept`, in the order of their ids, but those written since `began_at` by others.

    `added` products of the catalogue are new: the share is that of the catalogue before.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    ids: list[str] = []
    first: list[tuple[str, str]] = []
    count = 0
    with mongo_errors("looking for products that the file lacks"):
        async for document in store.database.products.find({}, ["_id", "name", "updated_at"]).sort("_id"):
            count += 1
            product_id, updated_at = document["_id"], document.get("updated_at")
            is_newer = isinstance(updated_at, datetime) and updated_at >= began_at
            if not isinstance(product_id, str) or len(product_id) > MAX_ID_CHARACTERS:
                continue  # of another program
            if product_id in kept or is_newer:
                continue
            ids.append(product_id)
            if len(first) < SHOWN_PRODUCTS:
                first.append((product_id, str(document.get("name", ""))))
    return LackingProducts(tuple(ids), tuple(first), count - added)


async def delete_lacking(store: ProductStore, lacking: LackingProducts) -> None:
    """Delete them. Their pictures are kept.

    Raises:
        MongoUnavailableError: MongoDB became unavailable; a part of them may be deleted.
    """
    for start in range(0, len(lacking.ids), _BATCH):
        await store.delete_many(lacking.ids[start : start + _BATCH])


def _percent(share: float) -> str:
    return f"{share * _WHOLE:.3g}%"
