"""The export of all products, or of a category, in pieces of a file."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Literal

from framematch.catalog.exporting.csv_rows import BYTE_ORDER_MARK, AttributeColumns, header_row, product_row
from framematch.catalog.exporting.json_lines import export_line
from framematch.catalog.exporting.picture_files import PictureFiles
from framematch.catalog.product import Product
from framematch.catalog.products import ProductStore

ExportFormat = Literal["csv", "jsonl"]
PIECE_BYTES: Final = 262_144

_PRODUCTS_PER_STEP = 100


@dataclass
class Export:
    """One export. `products` counts those that were written so far, and `total` those that there are."""

    store: ProductStore
    format: ExportFormat = "jsonl"
    category: str | None = None
    pictures: PictureFiles | None = None
    products: int = 0
    total: int = 0

    async def pieces(self, on_progress: Callable[[], None] = lambda: None) -> AsyncIterator[bytes]:
        """The file in pieces of about `PIECE_BYTES`.

        CSV reads the products twice: which attributes get columns has to be known first. Products that others change
        meanwhile are as one of both reads found them.

        Raises:
            UsageError: a picture cannot be written.
            MongoUnavailableError: MongoDB became unavailable.
        """
        self.total = await self.store.count(category=self.category)
        if self.pictures is not None:
            await self.pictures.open()
        attributes: tuple[str, ...] = ()
        piece = bytearray()
        if self.format == "csv":
            attributes = await self._attribute_columns()
            piece += BYTE_ORDER_MARK + header_row(attributes)
        async for products in self._steps():
            if self.pictures is not None:
                await self.pictures.write(products)
            for product in products:
                piece += self._product(product, attributes)
            self.products += len(products)
            self.total = max(self.total, self.products)
            on_progress()
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        self.total = self.products
        on_progress()
        yield bytes(piece)

    async def _attribute_columns(self) -> tuple[str, ...]:
        columns = AttributeColumns()
        async for product in self.store.iterate(category=self.category):
            columns.add(product.attributes)
        return columns.chosen()

    async def _steps(self) -> AsyncIterator[list[Product]]:
        products: list[Product] = []
        async for product in self.store.iterate(category=self.category):
            products.append(product)
            if len(products) == _PRODUCTS_PER_STEP:
                yield products
                products = []
        if products:
            yield products

    def _product(self, product: Product, attributes: tuple[str, ...]) -> bytes:
        files = None if self.pictures is None else self.pictures.names
        if self.format == "csv":
            return product_row(product, attributes, files)
        return export_line(product, files)
