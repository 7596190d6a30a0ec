"""The operation `export`: all products in a file that an import of the same catalogue takes as it is."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from framematch.api.operations.work import Work
from framematch.catalog.exporting.export import Export, ExportFormat
from framematch.catalog.products import ProductStore

MEDIA_TYPES: Final[Mapping[ExportFormat, str]] = {"jsonl": "application/x-ndjson", "csv": "text/csv"}


async def export_products(work: Work) -> dict[str, Any]:
    """Write all products, or those of a category, into the operation's file.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    work.meter.unit = "products"
    file_format: ExportFormat = "csv" if work.parameters.get("format") == "csv" else "jsonl"
    export = Export(ProductStore(work.database), file_format, work.parameters.get("category"))

    async def pieces() -> AsyncGenerator[bytes, None]:
        async for piece in export.pieces(lambda: work.meter.report(export.products, export.total)):
            yield piece

    async with aclosing(pieces()) as exported:
        file = await work.files.write(work.operation.id, "content", exported)
    return {
        "products": export.products,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "media_type": MEDIA_TYPES[file_format],
    }
