"""Products and their images in MongoDB, the catalogue's source of truth."""

import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from cachetools import LRUCache
from pymongo import ReplaceOne

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.product import (
    MAX_ID_CHARACTERS,
    PRODUCT_FIELDS,
    Product,
    ProductFilter,
    StoredImage,
    View,
    content_of,
    new_revision,
    to_document,
    to_product,
    to_view,
)
from framematch.catalog.search_text import SEARCH_TEXT, words_filter
from framematch.catalog.values import DocumentError, FieldReader, shown, whole_number
from framematch.core.errors import CatalogError

__all__ = [
    "MAX_ID_CHARACTERS",
    "Comparison",
    "Product",
    "ProductFilter",
    "ProductStore",
    "StoredImage",
    "View",
    "to_view",
]

log = structlog.get_logger()

_VERSION = "catalog_version"
_REPORTED_MAX = 10_000
_DAMAGED = "its data are not the image's bytes: delete the document, and import the catalogue again"
# For each reply: MongoDB itself limits a reply to 16 MB, but the local stack's server sends all documents at once, and
# drivers take 48 MB. A product has up to 256 kB, see `framematch.catalog.document_limits`.
_PRODUCTS_PER_REPLY = 100


@dataclass(frozen=True)
class Comparison:
    """What would become of products if they were written."""

    added: tuple[Product, ...]
    changed: tuple[Product, ...]
    same: tuple[Product, ...]


class ProductStore:
    """The collections `products`, `images` and `meta` of one database.

    An image is one document, keyed by the SHA-256 of its bytes, and no GridFS file: it fits MongoDB's limit of 16 MB
    (`framematch.catalog.images.MAX_BYTES`), and a document is written whole or not at all.

    Other programs may write here too. A product whose document cannot be read is left out, one whose fields cannot is
    read without them; both are logged, once for each product. Fields that are not ours are ignored.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._reported: LRUCache[str, str] = LRUCache(_REPORTED_MAX)

    async def ensure_indexes(self) -> None:
        """Create the indexes that queries need, if they are missing."""
        with mongo_errors("creating indexes"):
            await self.database.products.create_index("category")
            await self.database.products.create_index("updated_at")

    async def upsert_many(self, products: Sequence[Product]) -> None:
        """Write products, replacing those with the same id, and increment the catalogue version if anything changed.

        The version is written last: who reads it before the products never gets older products than the version says.
        """
        if not products:
            return
        revisions = [new_revision(product) for product in products]
        writes = [ReplaceOne({"_id": one.product.id}, to_document(one), upsert=True) for one in revisions]
        with mongo_errors("writing products"):
            result = await self.database.products.bulk_write(writes, ordered=False)
            if result.upserted_count or result.modified_count:
                await self.increment_version()

    async def delete_many(self, ids: Iterable[str]) -> None:
        """Delete products, and increment the catalogue version if there were any. Their images are kept."""
        with mongo_errors("deleting products"):
            result = await self.database.products.delete_many({"_id": {"$in": list(ids)}})
            if result.deleted_count:
                await self.increment_version()

    async def existing(self, ids: Iterable[str]) -> frozenset[str]:
        """Which of these products have a document, readable or not."""
        with mongo_errors("looking for products"):
            found = await self.database.products.find({"_id": {"$in": list(ids)}}, {"_id": 1}).to_list()
        return frozenset(document["_id"] for document in found)

    async def compare(self, products: Sequence[Product]) -> Comparison:
        """Which of these products are not stored yet, or not as they are here.

        A document that cannot be read, or whose fields or search text are not as this version writes them, differs.
        """
        fields = [*PRODUCT_FIELDS, SEARCH_TEXT]
        with mongo_errors("reading products"):
            documents = (
                await self.database.products.find({"_id": {"$in": [product.id for product in products]}}, fields)
                .batch_size(_PRODUCTS_PER_REPLY)
                .to_list()
            )
        stored = {document["_id"]: document for document in documents}
        same = frozenset(product.id for product in products if self._is_stored(product, stored.get(product.id)))
        return Comparison(
            added=tuple(product for product in products if product.id not in stored),
            changed=tuple(product for product in products if product.id in stored and product.id not in same),
            same=tuple(product for product in products if product.id in same),
        )

    def _is_stored(self, product: Product, document: Document | None) -> bool:
        if document is None:
            return False
        found, problems = self.read(document)
        return found == product and not problems and document.get(SEARCH_TEXT) == content_of(product)[SEARCH_TEXT]

    async def get_many(self, ids: Iterable[str]) -> dict[str, Product]:
        """The products with these ids, in one query; unknown and unreadable ones are left out."""
        with mongo_errors("reading products"):
            documents = (
                await self.database.products.find({"_id": {"$in": list(ids)}}, PRODUCT_FIELDS)
                .batch_size(_PRODUCTS_PER_REPLY)
                .to_list()
            )
        found = (self.read(document) for document in documents)
        return {product.id: product for product, _ in found if product}

    async def iterate(
        self, *, category: str | None = None, words: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Product]:
        """Products in the order of their ids; all of them by default. `words`: see `words_filter`."""
        where = _where(category, words)
        with mongo_errors("reading products"):
            found = self.database.products.find(where, PRODUCT_FIELDS).sort("_id").limit(limit or 0)
            async for document in found.batch_size(_PRODUCTS_PER_REPLY):
                product, _ = self.read(document)
                if product:
                    yield product

    async def ids_of(self, wanted: ProductFilter) -> frozenset[str] | None:
        """The ids of the products that fit; None when all do.

        Prices and attributes are compared here: MongoDB would not compare a price that another program has written as
        a text, and takes some names of attributes for operators.
        """
        if wanted.selects_all:
            return None
        where = {} if wanted.category is None else {"category": wanted.category}
        ids = set()
        batch = _PRODUCTS_PER_REPLY if wanted.attributes else 0  # 0: what the server sends by default
        needed = ["_id", *(["price"] if wanted.has_price else []), *(["attributes"] if wanted.attributes else [])]
        with mongo_errors("filtering products"):
            async for document in self.database.products.find(where, needed).batch_size(batch):
                reader = FieldReader(document)
                if (
                    isinstance(document["_id"], str)
                    and wanted.fits_price(reader.amount("price"))
                    and wanted.fits_attributes(reader.json_object("attributes"))
                ):
                    ids.add(document["_id"])
        return frozenset(ids)

    async def count(self, *, category: str | None = None) -> int:
        """How many products there are."""
        with mongo_errors("counting products"):
            return await self.database.products.count_documents(_where(category, None))

    async def catalog_version(self) -> int:
        """A number that rises with every change of products; 0 for an empty catalogue.

        Raises:
            CatalogError: its document is damaged; the next import repairs it.
        """
        with mongo_errors("reading the catalogue version"):
            document = await self.database.meta.find_one({"_id": _VERSION})
        try:
            return whole_number(document, "version") if document else 0
        except DocumentError as error:
            raise CatalogError(
                f"the document {_VERSION!r} of the collection meta is damaged: {error}",
                hint="Delete it, and import the catalogue again",
            ) from None

    async def find_views(self, digests: Iterable[str]) -> dict[str, View]:
        """The views of those images that are stored. Their bytes are checked by `get_images`."""
        # By id alone: the local stack's server reads all documents for a query that has another condition too.
        stored = {"_id": {"$in": list(digests)}}
        with mongo_errors("looking for images"):
            documents = await self.database.images.find(stored, {"width": 1, "height": 1}).to_list()
        views = {}
        for document in documents:
            try:
                views[document["_id"]] = to_view(document, document["_id"])
            except DocumentError as error:
                log.warning("image_unreadable", image=document["_id"], error=str(error))
        return views

    async def put_images(self, images: Sequence[StoredImage]) -> None:
        """Store images; a damaged document of the same image is replaced."""
        if not images:
            return
        writes = [
            ReplaceOne(
                {"_id": image.view.image},
                {"width": image.view.width, "height": image.view.height, "data": image.data},
                upsert=True,
            )
            for image in images
        ]
        with mongo_errors("writing images"):
            await self.database.images.bulk_write(writes, ordered=False)

    async def get_images(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The bytes of these images, in one query; unknown ones, and those whose bytes have changed, are left out.

        All of them are in one reply of at most 48 MB, so ask for three (`framematch.catalog.images.MAX_BYTES`).
        """
        with mongo_errors("reading images"):
            documents = await self.database.images.find({"_id": {"$in": list(digests)}}, {"data": 1}).to_list()
        images = {}
        for document in documents:
            data = document.get("data")
            if isinstance(data, bytes) and hashlib.sha256(data).hexdigest() == document["_id"]:
                images[document["_id"]] = bytes(data)
            else:
                log.warning("image_unreadable", image=document["_id"], error=_DAMAGED)
        return images

    async def increment_version(self) -> None:
        """Say that products have changed. Call it after the products are written."""
        try:
            await self.catalog_version()
        except CatalogError:  # no number can be added to it: start at one that no catalogue has reached by counting
            await self.database.meta.replace_one({"_id": _VERSION}, {"version": int(time.time())})
        await self.database.meta.update_one({"_id": _VERSION}, {"$inc": {"version": 1}}, upsert=True)

    def read(self, document: Document) -> tuple[Product | None, list[str]]:
        """The product in a document, None when it is none, and what is wrong with it, which is logged."""
        try:
            product, problems = to_product(document)
        except DocumentError as error:
            if self._is_new(shown(document["_id"]), str(error)):
                log.warning("product_unreadable", product=shown(document["_id"]), error=str(error))
            return None, [str(error)]
        if problems and self._is_new(product.id, "; ".join(problems)):
            log.warning("product_fields_left_out", product=product.id, error="; ".join(problems))
        return product, problems

    def _is_new(self, product: str, error: str) -> bool:
        known, self._reported[product] = self._reported.get(product), error
        return known != error


def _where(category: str | None, words: str | None) -> dict[str, Any]:
    return ({} if category is None else {"category": category}) | words_filter(words)
