"""Writes one product only if it is still the one that the writer has seen. Each write is one step of MongoDB."""

from collections.abc import Awaitable, Callable

from pymongo.errors import DuplicateKeyError

from framematch.catalog.mongo import mongo_errors
from framematch.catalog.product import StoredProduct, to_document
from framematch.catalog.products import ProductStore
from framematch.core.errors import StaleProductError

ProductWrite = Callable[[], Awaitable[None]]
"""Writes or deletes the document of a product."""


async def create_product(store: ProductStore, product: StoredProduct) -> None:
    """Write a product whose id is new.

    Raises:
        StaleProductError: there is one with this id.
        MongoUnavailableError: MongoDB became unavailable; the product may have been written.
    """
    with mongo_errors("writing a product"):
        try:
            await store.database.products.insert_one(to_document(product))
        except DuplicateKeyError:
            raise StaleProductError(
                f"there is a product {product.product.id!r} already", hint="Read it, and change it with its ETag"
            ) from None
        await store.increment_version()


async def replace_product(store: ProductStore, seen: StoredProduct, product: StoredProduct) -> None:
    """Replace the product that was `seen`.

    Raises:
        StaleProductError: it was changed or deleted since.
        MongoUnavailableError: MongoDB became unavailable; the product may have been written.
    """
    with mongo_errors("writing a product"):
        result = await store.database.products.replace_one(_as_seen(seen), to_document(product))
        if not result.matched_count:
            raise _changed(seen)
        await store.increment_version()


async def delete_product(store: ProductStore, seen: StoredProduct) -> None:
    """Delete the product that was `seen`. Its pictures are kept.

    Raises:
        StaleProductError: it was changed or deleted since.
        MongoUnavailableError: MongoDB became unavailable; the product may have been deleted.
    """
    with mongo_errors("deleting a product"):
        result = await store.database.products.delete_one(_as_seen(seen))
        if not result.deleted_count:
            raise _changed(seen)
        await store.increment_version()


def _as_seen(seen: StoredProduct) -> dict[str, str | None]:
    return {"_id": seen.product.id, "revision": seen.revision}  # None finds a document without the field


def _changed(seen: StoredProduct) -> StaleProductError:
    return StaleProductError(
        f"product {seen.product.id!r} was changed or deleted by somebody else meanwhile",
        hint="Read it again, and repeat the change if it is still right",
    )
