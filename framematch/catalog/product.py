"""A product of the catalogue, its views, and how MongoDB's documents have them."""

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from bson import Decimal128

from framematch.catalog.mongo import Document
from framematch.catalog.search_text import SEARCH_TEXT, search_text
from framematch.catalog.values import DocumentError, FieldReader, required_text, shown, whole_number

MAX_ID_CHARACTERS: Final = 1_000
"""Of a product's id. An event names up to 100 products (`matching.top_k`), and has to fit into a Kafka record."""
CURRENCY: Final = re.compile("[A-Z]{3}", re.ASCII)
"""A code of ISO 4217, such as EUR."""
GTIN: Final = re.compile("[0-9]{14}", re.ASCII)
REVISION_FIELDS: Final = ("revision", "updated_at")

_ETAG_DIGITS = 32


@dataclass(frozen=True)
class View:
    """One image of a product: the SHA-256 of its file in hexadecimal, and its displayed size in pixels."""

    image: str
    width: int
    height: int


@dataclass(frozen=True)
class Sku:
    """An article that is sold: its number, and what tells it from the others of its product, such as `{"Size": "M"}`.

    `gtin` has 14 digits. `price` has the currency of its product.
    """

    id: str
    gtin: str | None = None
    price: Decimal | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Product:
    """A catalogue entry.

    `attributes` has the catalogue's other columns. `skus` are the articles that look like this product; empty when it
    is one article that has no number but the product's id. `currency` is a code of ISO 4217.
    """

    id: str
    name: str
    category: str | None = None
    price: Decimal | None = None
    description: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    views: tuple[View, ...] = ()
    currency: str | None = None
    skus: tuple[Sku, ...] = ()


@dataclass(frozen=True)
class ProductFilter:
    """Selects products; what is None selects all. Prices are inclusive; a product without one fits no price.

    `attributes` are names and texts. A product fits if each of them has this value, or is a list that contains it;
    values that are no text are compared as they are in JSON: `12.5`, `true`.
    """

    category: str | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def selects_all(self) -> bool:
        """Whether nothing is filtered."""
        return self == ProductFilter()

    @property
    def has_price(self) -> bool:
        """Whether the price matters."""
        return (self.price_min, self.price_max) != (None, None)

    def fits_price(self, price: Decimal | None) -> bool:
        """Whether a product with this price fits."""
        if not self.has_price:
            return True
        if price is None or (self.price_max is not None and price > self.price_max):
            return False
        return price >= (self.price_min or 0)

    def fits_attributes(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a product with these attributes fits."""
        return all(wanted in _texts(attributes.get(name)) for name, wanted in self.attributes)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in values]


@dataclass(frozen=True)
class StoredProduct:
    """A product as one write has left it. `revision` is different after every write of ours.

    A document that another program has written may have neither a revision nor a time.
    """

    product: Product
    revision: str | None
    updated_at: datetime | None

    @property
    def etag(self) -> str:
        """Changes with every write of ours, and with the content, whoever has written it. ASCII, without quotes."""
        content = msgspec.json.encode((self.revision, self.product))
        return hashlib.sha256(content).hexdigest()[:_ETAG_DIGITS]


@dataclass(frozen=True)
class StoredImage:
    """An image file's original bytes, and the view that they show."""

    view: View
    data: bytes


PRODUCT_FIELDS: Final = ("_id", *(field.name for field in fields(Product) if field.name != "id"))
"""What a query has to return of a document."""


def new_revision(product: Product) -> StoredProduct:
    """The product as it is about to be written. MongoDB keeps milliseconds."""
    now = datetime.now(UTC)
    return StoredProduct(product, uuid.uuid4().hex, now.replace(microsecond=now.microsecond // 1000 * 1000))


def to_document(stored: StoredProduct) -> Document:
    """The document of a product."""
    return {**content_of(stored.product), "revision": stored.revision, "updated_at": stored.updated_at}


def content_of(product: Product) -> Document:
    """The product's part of its document.

    Raises:
        decimal.Inexact: an amount has too many digits for MongoDB.
    """
    document = asdict(product)
    document["_id"] = document.pop("id")
    document[SEARCH_TEXT] = search_text(document)
    for priced in (document, *document["skus"]):
        priced["price"] = None if priced["price"] is None else Decimal128(priced["price"])
    return document


def to_stored(product: Product, document: Document) -> StoredProduct:
    """The product that was read from this document, with what the document says about its last write."""
    revision, updated_at = document.get("revision"), document.get("updated_at")
    return StoredProduct(
        product,
        revision if isinstance(revision, str) else None,
        updated_at if isinstance(updated_at, datetime) else None,
    )


def to_product(document: Document) -> tuple[Product, list[str]]:
    """The product in a document, and which of its fields were left out.

    Raises:
        DocumentError: it has no usable id or views.
    """
    product_id, views = required_text(document, "_id"), document.get("views")
    if len(product_id) > MAX_ID_CHARACTERS:
        raise DocumentError(f"its id has more than {MAX_ID_CHARACTERS} characters")
    if not isinstance(views, list):
        raise DocumentError(f"views is {shown(views)}, not a list")
    for view in views:
        if not isinstance(view, dict):
            raise DocumentError(f"a view is {shown(view)}, not an object")
    reader = FieldReader(document)
    name = reader.text("name")
    if name is None and not reader.problems:
        reader.problems.append("name is missing, so the id stands for it")
    product = Product(
        id=product_id,
        name=name or product_id,
        category=reader.text("category"),
        price=reader.amount("price"),
        description=reader.text("description"),
        attributes=reader.json_object("attributes"),
        views=tuple(to_view(view, required_text(view, "image")) for view in views),
        currency=reader.text_like("currency", CURRENCY, "a currency such as EUR"),
        skus=_skus(reader),
    )
    return product, reader.problems


def read_skus(value: Any) -> tuple[tuple[Sku, ...], list[str]]:
    """The articles in a list of objects, and what of them was left out; none when it is None."""
    reader = FieldReader({"skus": value})
    return _skus(reader), reader.problems


def _skus(reader: FieldReader) -> tuple[Sku, ...]:
    return tuple(sku for sku in map(_sku, reader.objects("skus")) if sku is not None)


def _sku(reader: FieldReader) -> Sku | None:
    sku_id = reader.needed("id")
    if sku_id is None:
        return None
    return Sku(
        sku_id, reader.text_like("gtin", GTIN, "a GTIN of 14 digits"), reader.amount("price"), reader.texts("options")
    )


def to_view(document: Document, image: str) -> View:
    """The view of this image, with the size in a document.

    Raises:
        DocumentError: it is no size.
    """
    return View(image, whole_number(document, "width", at_least=1), whole_number(document, "height", at_least=1))
