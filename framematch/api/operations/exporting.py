"""The operation `export`: all products as JSON lines, which an import of the same catalogue takes as they are."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from framematch.api.operations.work import Work
from framematch.catalog.importing.pictures.names import STORED_PREFIX
from framematch.catalog.product import Product
from framematch.catalog.products import ProductStore
from framematch.core import exact_json

MEDIA_TYPE: Final = "application/x-ndjson"
_PIECE_BYTES = 262_144


async def export_products(work: Work) -> dict[str, Any]:
    """Write all products, or those of a category, into the operation's file.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    work.meter.unit = "products"
    store, category = ProductStore(work.database), work.parameters.get("category")
    total = await store.count(category=category)
    written = 0

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal written
        piece = bytearray()
        async for product in store.iterate(category=category):
            piece += export_line(product)
            written += 1
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
                work.meter.report(written, max(total, written))
        yield bytes(piece)
        work.meter.report(written, written)

    async with aclosing(pieces()) as exported:
        file = await work.files.write(work.operation.id, "content", exported)
    return {"products": written, "bytes": file.bytes, "sha256": file.sha256, "media_type": MEDIA_TYPE}


def export_line(product: Product) -> bytes:
    """One product as JSON with a line end. Pictures stand there by their digests."""
    fields = {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "price": product.price,
        "description": product.description,
        "images": [STORED_PREFIX + view.image for view in product.views],
        "attributes": product.attributes,
        "currency": product.currency,
        "skus": product.skus or None,
    }
    return exact_json.encode({name: value for name, value in fields.items() if value is not None}) + b"\n"
