"""Lists products in pages, by category, words and time of the last write."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from framematch.catalog.mongo import mongo_errors
from framematch.catalog.product import PRODUCT_FIELDS, REVISION_FIELDS, StoredProduct, to_stored
from framematch.catalog.products import ProductStore
from framematch.catalog.search_text import words_filter

PAGE_BYTES: Final = 8_000_000
"""Of the products of a page, as JSON: a page with large products has fewer of them."""

_PRODUCTS_PER_REPLY = 50


@dataclass(frozen=True)
class ProductQuery:
    """Selects products; what is None selects all.

    `words`: see `words_filter`. `updated_after` leaves out products that another program has written without a time.
    """

    category: str | None = None
    words: str | None = None
    updated_after: datetime | None = None

    def to_filter(self, after: str) -> dict[str, Any]:
        """MongoDB's filter of the products that fit, and whose ids come after this one."""
        wanted: dict[str, Any] = {"_id": {"$gt": after}}
        if self.category is not None:
            wanted["category"] = self.category
        if self.updated_after is not None:
            wanted["updated_at"] = {"$gt": self.updated_after}
        return wanted | words_filter(self.words)


@dataclass(frozen=True)
class ProductPage:
    """Products in the order of their ids. `next_after` is where the next page starts; None at the end."""

    products: tuple[StoredProduct, ...]
    next_after: str | None


async def read_page(store: ProductStore, query: ProductQuery, *, after: str = "", limit: int) -> ProductPage:
    """Up to `limit` products whose ids come after `after`.

    The page before is not read again, however far the list has been read. Products that are added or removed meanwhile
    neither repeat nor hide others. Documents that are no products are left out, so a page may have fewer.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    found: list[StoredProduct] = []
    seen, last, size = 0, after, 0
    wanted = [*PRODUCT_FIELDS, *REVISION_FIELDS]
    with mongo_errors("listing products"):
        documents = store.database.products.find(query.to_filter(after), wanted).sort("_id").limit(limit + 1)
        async for document in documents.batch_size(min(limit + 1, _PRODUCTS_PER_REPLY)):
            if seen == limit or size > PAGE_BYTES:
                return ProductPage(tuple(found), last)
            seen, last = seen + 1, document["_id"]
            product, _problems = store.read(document)
            if product is not None:
                found.append(to_stored(product, document))
                size += len(msgspec.json.encode(product))
    return ProductPage(tuple(found), None)


async def read_product(store: ProductStore, product_id: str) -> StoredProduct | None:
    """The product with this id; None when there is none, or its document is unreadable.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    with mongo_errors("reading a product"):
        document: Mapping[str, Any] | None = await store.database.products.find_one({"_id": product_id})
    if document is None:
        return None
    product, _problems = store.read(dict(document))
    return None if product is None else to_stored(product, dict(document))
