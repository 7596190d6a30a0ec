"""The operation `export`: all products as JSON lines, which an import of the same catalogue takes as they are."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from framematch.api.operations.work import Work
from framematch.catalog.exporting.export import Export
from framematch.catalog.products import ProductStore

MEDIA_TYPE: Final = "application/x-ndjson"


async def export_products(work: Work) -> dict[str, Any]:
    """Write all products, or those of a category, into the operation's file.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    work.meter.unit = "products"
    export = Export(ProductStore(work.database), category=work.parameters.get("category"))

    async def pieces() -> AsyncGenerator[bytes, None]:
        async for piece in export.pieces(lambda: work.meter.report(export.products, export.total)):
            yield piece

    async with aclosing(pieces()) as exported:
        file = await work.files.write(work.operation.id, "content", exported)
    return {"products": export.products, "bytes": file.bytes, "sha256": file.sha256, "media_type": MEDIA_TYPE}
