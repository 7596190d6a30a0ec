"""Products and their images in MongoDB, the catalogue's source of truth."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from framematch.catalog.mongo import Database, Document, mongo_errors

_DUPLICATE_KEY = 11000
_VERSION = "catalog_version"
# For each reply: MongoDB itself limits a reply to 16 MB, but the local stack's server sends all documents at once, and
# drivers take 48 MB. A product has up to 256 kB, see `framematch.catalog.row_images`.
_PRODUCTS_PER_REPLY = 100


@dataclass(frozen=True)
class View:
    """One image of a product: the SHA-256 of its file in hexadecimal, and its displayed size in pixels."""

    image: str
    width: int
    height: int


@dataclass(frozen=True)
class Product:
    """A catalogue entry; `attributes` has the catalogue's other columns."""

    id: str
    name: str
    category: str | None = None
    price: float | None = None
    description: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class StoredImage:
    """An image file's original bytes, and the view that they show."""

    view: View
    data: bytes


class ProductStore:
    """The collections `products`, `images` and `meta` of one database.

    An image is one document, keyed by the SHA-256 of its bytes, and no GridFS file: it fits MongoDB's limit of 16 MB
    (`framematch.catalog.images.MAX_BYTES`), and a document is written whole or not at all.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def ensure_indexes(self) -> None:
        """Create the indexes that queries need, if they are missing."""
        with mongo_errors("creating indexes"):
            await self.database.products.create_index("category")

    async def upsert_many(self, products: Sequence[Product]) -> None:
        """Write products, replacing those with the same id, and increment the catalogue version if anything changed.

        The version is written last: who reads it before the products never gets older products than the version says.
        """
        if not products:
            return
        writes = [ReplaceOne({"_id": product.id}, _to_document(product), upsert=True) for product in products]
        with mongo_errors("writing products"):
            result = await self.database.products.bulk_write(writes, ordered=False)
            if result.upserted_count or result.modified_count:
                await self.database.meta.update_one({"_id": _VERSION}, {"$inc": {"version": 1}}, upsert=True)

    async def get_many(self, ids: Iterable[str]) -> dict[str, Product]:
        """The products with these ids, in one query; unknown ids are left out."""
        with mongo_errors("reading products"):
            documents = (
                await self.database.products.find({"_id": {"$in": list(ids)}}).batch_size(_PRODUCTS_PER_REPLY).to_list()
            )
        return {document["_id"]: _to_product(document) for document in documents}

    async def iterate(self, *, category: str | None = None, limit: int | None = None) -> AsyncIterator[Product]:
        """Products in the order of their ids; all of them by default."""
        where = {} if category is None else {"category": category}
        with mongo_errors("reading products"):
            async for document in (
                self.database.products.find(where).sort("_id").limit(limit or 0).batch_size(_PRODUCTS_PER_REPLY)
            ):
                yield _to_product(document)

    async def count(self, *, category: str | None = None) -> int:
        """How many products there are."""
        with mongo_errors("counting products"):
            return await self.database.products.count_documents({} if category is None else {"category": category})

    async def catalog_version(self) -> int:
        """A number that rises with every change of products; 0 for an empty catalogue."""
        with mongo_errors("reading the catalogue version"):
            document = await self.database.meta.find_one({"_id": _VERSION})
        return int(document["version"]) if document else 0

    async def find_views(self, digests: Iterable[str]) -> dict[str, View]:
        """The views of those images that are stored."""
        with mongo_errors("looking for images"):
            documents = await self.database.images.find({"_id": {"$in": list(digests)}}, {"data": 0}).to_list()
        return {document["_id"]: View(document["_id"], document["width"], document["height"]) for document in documents}

    async def put_images(self, images: Sequence[StoredImage]) -> None:
        """Store images; existing ones are kept."""
        if not images:
            return
        documents = [
            {"_id": image.view.image, "width": image.view.width, "height": image.view.height, "data": image.data}
            for image in images
        ]
        with mongo_errors("writing images"):
            try:
                await self.database.images.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                if any(problem["code"] != _DUPLICATE_KEY for problem in error.details["writeErrors"]):
                    raise

    async def get_images(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The bytes of these images, in one query; unknown ones are left out.

        All of them are in one reply of at most 48 MB, so ask for three (`framematch.catalog.images.MAX_BYTES`).
        """
        with mongo_errors("reading images"):
            documents = await self.database.images.find({"_id": {"$in": list(digests)}}).to_list()
        return {document["_id"]: bytes(document["data"]) for document in documents}


def _to_document(product: Product) -> Document:
    document = asdict(product)
    document["_id"] = document.pop("id")
    return document


def _to_product(document: Document) -> Product:
    """The product in a document; unknown fields are ignored."""
    views = tuple(View(**view) for view in document["views"])
    known = {field.name for field in fields(Product)} - {"id", "views"}
    return Product(id=document["_id"], views=views, **{key: document[key] for key in known & document.keys()})
