"""Products as JSON lines."""

from collections.abc import Mapping
from typing import Any

from framematch.catalog.importing.pictures.names import STORED_PREFIX
from framematch.catalog.product import Product, Sku
from framematch.core import exact_json


def export_line(product: Product, files: Mapping[str, str] | None = None) -> bytes:
    """One product as JSON with a line end. Fields without a value are left out.

    `files` are the names of picture files by digest; pictures without one stand there by their digests.
    """
    fields = {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "price": product.price,
        "currency": product.currency,
        "description": product.description,
        "skus": [sku_fields(sku) for sku in product.skus] or None,
        "images": picture_names(product, files),
        "attributes": product.attributes,
    }
    return exact_json.encode({name: value for name, value in fields.items() if value is not None}) + b"\n"


def sku_fields(sku: Sku) -> dict[str, Any]:
    """An article as JSON has it, without fields that have no value."""
    fields = {"id": sku.id, "gtin": sku.gtin, "price": sku.price, "options": sku.options or None}
    return {name: value for name, value in fields.items() if value is not None}


def picture_names(product: Product, files: Mapping[str, str] | None = None) -> list[str]:
    """The names of a product's pictures: of the file, or `sha256:` and the digest."""
    names = files or {}
    return [names.get(view.image, STORED_PREFIX + view.image) for view in product.views]
