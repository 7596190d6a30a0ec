"""Products and their reference images, as requests and answers have them."""

import unicodedata
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Base64Bytes, BaseModel, BeforeValidator, ConfigDict, Field

from framematch.api.schemas.skus import Amount, Currency, SkuAnswer, SkuFields, different
from framematch.catalog.changes.product_changes import PublishedChange
from framematch.catalog.images import MAX_BYTES
from framematch.catalog.product import MAX_ID_CHARACTERS, Product, StoredProduct, View
from framematch.core.units import BYTES_PER_MB

IMAGES_MAX: Final = 16
"""In the body of one product; further ones are added one by one."""
_DEPTH_MAX: Final = 50
_DIGEST: Final = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
_PAGE: Final = "TpZ8fX0sYl9vWjJhb2RlNFsiNDAxMSJd"


def _text(value: str) -> str:
    text = value.strip()
    if "\0" in text:
        raise ValueError("has a NUL character")
    return text


def _name(value: str) -> str:
    if not (text := _text(value)):
        raise ValueError("is empty")
    return text


def _optional_text(value: str | None) -> str | None:
    return None if value is None else _text(value) or None


def _json_values(value: Any, depth: int = 1) -> Any:
    """Check that MongoDB and JSON have the value: no NaN, not nested too deeply."""
    if depth > _DEPTH_MAX:
        raise ValueError(f"is nested more than {_DEPTH_MAX} deep")
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        raise ValueError("has a number that JSON does not have")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _json_values(item, depth + 1)
    return value


def product_id_problem(product_id: str) -> str:
    """Why no product can be made with this id by REST; empty when one can."""
    if not product_id or len(product_id) > MAX_ID_CHARACTERS:
        return f"an id has 1 to {MAX_ID_CHARACTERS} characters"
    if product_id in (".", ".."):
        return f"clients and proxies take {product_id!r} out of a path, so it cannot be addressed"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in product_id):
        return "an id has no control characters"
    return "the id is not UTF-8, percent-encoded" if "\N{REPLACEMENT CHARACTER}" in product_id else ""


class NewReferenceImage(BaseModel):
    """A picture of a product, whole or by the digest of one that is stored."""

    model_config = ConfigDict(extra="forbid")

    content: Base64Bytes | None = Field(
        None, max_length=MAX_BYTES, description=f"the picture's file in Base64, up to {MAX_BYTES // BYTES_PER_MB} MB"
    )
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of a picture that is stored already")


class ProductFields(BaseModel):
    """What a product is, apart from its id and its pictures."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, AfterValidator(_name)] = Field(examples=["Granny Smith"])
    category: Annotated[str | None, AfterValidator(_optional_text)] = Field(None, examples=["Apple"])
    price: Amount | None = Field(None, examples=[0.45])
    description: Annotated[str | None, AfterValidator(_optional_text)] = None
    attributes: Annotated[dict[str, Any], BeforeValidator(_json_values)] = Field(
        default_factory=dict, description="anything else; match events contain it", examples=[{"brand": "Mill"}]
    )
    currency: Currency | None = None
    skus: Annotated[list[SkuFields], AfterValidator(different)] = Field(
        [], description="articles that look like this product; without any it is one article with the product's id"
    )


class ProductBody(ProductFields):
    """A product as it is created or replaced."""

    reference_images: list[NewReferenceImage] | None = Field(
        None, max_length=IMAGES_MAX, description="replace all reference images; without it they stay as they are"
    )

    def fields(self) -> ProductFields:
        """Without the pictures."""
        return ProductFields(**self.model_dump(exclude={"reference_images"}))


class ReferenceImage(BaseModel):
    """A picture of a product. Width and height are upright, in pixels."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sha256": _DIGEST, "width": 800, "height": 600}]})

    sha256: str = Field(description="of the file's bytes; it is the id")
    width: int
    height: int

    @classmethod
    def of(cls, view: View) -> "ReferenceImage":
        """The one of a view."""
        return cls(sha256=view.image, width=view.width, height=view.height)


class ReferenceImages(BaseModel):
    """All reference images of a product."""

    items: list[ReferenceImage]
    next_page_token: str | None = None


class LeftOutSnapshot(BaseModel):
    """A snapshot in use that cannot be served with the change, and why."""

    snapshot: str
    reason: str


class Change(BaseModel):
    """The change of the catalogue that a request has made.

    A process searches it when the `delta` that it says in `served_by` of the active snapshot has reached `number`.
    Without a number no snapshot is active, and the next build takes the change.
    """

    number: int | None
    left_out: list[LeftOutSnapshot] = []

    @classmethod
    def of(cls, change: PublishedChange) -> "Change":
        """As it was published."""
        left_out = [LeftOutSnapshot(snapshot=one.snapshot, reason=one.reason) for one in change.left_out]
        return cls(number=change.number, left_out=left_out)


class ProductAnswer(BaseModel):
    """A product. `change` is in the answer to a request that has changed it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "4011",
                    "name": "Granny Smith",
                    "category": "Apple",
                    "price": 0.45,
                    "description": "Green and sour",
                    "attributes": {"brand": "Mill"},
                    "currency": "EUR",
                    "skus": [{"id": "4011-6", "gtin": "04006381333931", "price": 2.50, "options": {"Pack": "6"}}],
                    "reference_images": [{"sha256": _DIGEST, "width": 800, "height": 600}],
                    "updated_at": "2026-01-31T12:00:00.123Z",
                    "etag": "9f1c0a5e2b7d4c53a1e8f60d2b3c4d5e",
                    "change": {"number": 12, "left_out": []},
                }
            ]
        }
    )

    id: str = Field(examples=["4011"])
    name: str
    category: str | None
    price: Amount | None
    description: str | None
    attributes: dict[str, Any]
    currency: Currency | None = None
    skus: list[SkuAnswer] = []
    reference_images: list[ReferenceImage]
    updated_at: datetime | None = Field(description="null for one that another program has written")
    etag: str = Field(description="as in the header ETag, without quotes")
    change: Change | None = None

    @classmethod
    def of(cls, stored: StoredProduct, change: PublishedChange | None = None) -> "ProductAnswer":
        """The answer for a stored product."""
        product = stored.product
        return cls(
            id=product.id,
            name=product.name,
            category=product.category,
            price=product.price,
            description=product.description,
            attributes=product.attributes,
            currency=product.currency,
            skus=[SkuAnswer.of(sku) for sku in product.skus],
            reference_images=[ReferenceImage.of(view) for view in product.views],
            updated_at=stored.updated_at,
            etag=stored.etag,
            change=None if change is None else Change.of(change),
        )


class ProductList(BaseModel):
    """A page of products, in the order of their ids."""

    items: list[ProductAnswer]
    next_page_token: str | None = Field(description="null at the end", examples=[_PAGE])


def to_fields(product: Product) -> dict[str, Any]:
    """The members that a merge patch may change."""
    fields = {name: getattr(product, name) for name in ProductFields.model_fields}
    return {**fields, "skus": [asdict(sku) for sku in product.skus]}


def to_product(product_id: str, fields: ProductFields, views: tuple[View, ...]) -> Product:
    """The product with these fields."""
    return Product(
        id=product_id,
        name=fields.name,
        category=fields.category,
        price=fields.price,
        description=fields.description,
        attributes=fields.attributes,
        views=views,
        currency=fields.currency,
        skus=tuple(sku.sku() for sku in fields.skus),
    )
