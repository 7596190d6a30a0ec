"""Imports a catalogue file: stores valid rows with their images in MongoDB and reports the others. Idempotent."""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import bson
import structlog
from bson.errors import BSONError

from framematch.catalog.images import ImageFile, decode_rgb, read_image
from framematch.catalog.products import Product, ProductStore, StoredImage, View
from framematch.catalog.rows import ProductDraft, RowProblem, parse_rows
from framematch.core.errors import CatalogError, UsageError
from framematch.core.progress import OnProgress
from framematch.core.units import BYTES_PER_KB

log = structlog.get_logger()

# Rows for each round trip to MongoDB. Their image files are in memory together.
CHUNK_ROWS = 64
# For decoding, which takes most of the time; Pillow releases the GIL meanwhile.
THREADS = 2
# Of a product's document without its images: each of its events contains all of it.
MAX_ROW_BYTES = 256_000


@dataclass(frozen=True)
class ImportReport:
    """How many products are new, changed or unchanged, and which rows were not imported."""

    added: int
    changed: int
    unchanged: int
    problems: tuple[RowProblem, ...]

    @property
    def good(self) -> int:
        """How many rows are in the catalogue now."""
        return self.added + self.changed + self.unchanged


async def import_products(
    path: Path, images_dir: Path, store: ProductStore, on_progress: OnProgress = lambda _done, _total: None
) -> ImportReport:
    """Import the products of a CSV or JSON lines file (see `parse_rows`) with their images.

    Image paths are relative to `images_dir` and must not lead out of it. A row is imported with all of its images or
    not at all. An existing product is replaced if it differs; products that are not in the file are kept. Importing a
    file again changes nothing, so an interrupted import can simply be repeated.

    `on_progress` counts lines of the file.

    Raises:
        UsageError: the file or the folder cannot be read.
        CatalogError: the file is no catalogue.
        MongoUnavailableError: MongoDB became unavailable.
    """
    root = _folder(images_dir)
    with _open(path) as file, ThreadPoolExecutor(THREADS, "import") as pool:
        total = sum(1 for _ in file)
        file.seek(0)
        await store.ensure_indexes()
        added = changed = unchanged = 0
        problems: list[RowProblem] = []
        for chunk in _chunks(parse_rows(file)):
            drafts = [row for row in chunk if isinstance(row, ProductDraft)]
            problems += [row for row in chunk if isinstance(row, RowProblem)]
            products, refused = await _with_images(drafts, root, store, pool)
            problems += refused
            before = await store.get_many((product.id for product in products), intact=True)
            differing = [product for product in products if before.get(product.id) != product]
            await store.upsert_many(differing)
            added += len(products) - len(before)
            changed += len(differing) - (len(products) - len(before))
            unchanged += len(products) - len(differing)
            on_progress(chunk[-1].line, total)
    on_progress(total, total)
    problems.sort(key=lambda problem: problem.line)
    log.info("catalog_imported", added=added, changed=changed, unchanged=unchanged, problems=len(problems))
    return ImportReport(added, changed, unchanged, tuple(problems))


async def _with_images(
    drafts: list[ProductDraft], root: Path, store: ProductStore, pool: ThreadPoolExecutor
) -> tuple[list[Product], list[RowProblem]]:
    """Products whose images are stored, and the rows whose images are invalid.

    An image that is stored already was checked then, so it is not decoded again.
    """
    loop = asyncio.get_running_loop()
    files = await asyncio.gather(*(loop.run_in_executor(pool, _read_all, draft, root) for draft in drafts))
    data = {file.digest: file.data for row in files if isinstance(row, list) for file in row}
    names = {file.digest: file.name for row in files if isinstance(row, list) for file in row}
    checked: dict[str, View | str] = dict(await store.find_views(data))
    new = [digest for digest in data if digest not in checked]
    views = await asyncio.gather(
        *(loop.run_in_executor(pool, _check, digest, data[digest], names[digest]) for digest in new)
    )
    checked |= dict(zip(new, views, strict=True))

    products: list[Product] = []
    problems: list[RowProblem] = []
    for draft, row in zip(drafts, files, strict=True):
        outcome = row if isinstance(row, str) else _product(draft, row, checked)
        if isinstance(outcome, Product):
            products.append(outcome)
        else:
            problems.append(RowProblem(draft.line, outcome))
    wanted = {view.image: view for product in products for view in product.views}
    await store.put_images([StoredImage(wanted[digest], data[digest]) for digest in new if digest in wanted])
    return products, problems


def _read_all(draft: ProductDraft, root: Path) -> list[ImageFile] | str:
    try:
        return [read_image(root, name) for name in draft.images]
    except CatalogError as error:
        return error.message


def _check(digest: str, content: bytes, name: str) -> View | str:
    try:
        height, width, _ = decode_rgb(content, name=name).shape
    except CatalogError as error:
        return error.message
    return View(digest, width, height)


def _product(draft: ProductDraft, files: list[ImageFile], checked: dict[str, View | str]) -> Product | str:
    views: dict[str, View] = {}
    for file in files:
        view = checked[file.digest]
        if isinstance(view, str):
            return f"image {file.name!r} {view}"
        views[file.digest] = view
    product = Product(
        id=draft.id,
        name=draft.name,
        category=draft.category,
        price=draft.price,
        description=draft.description,
        attributes=draft.attributes,
        views=tuple(views.values()),
    )
    try:
        size = len(bson.encode(asdict(product)))
    except (BSONError, OverflowError, UnicodeEncodeError) as error:
        return f"cannot be stored in MongoDB: {error}"
    return product if size <= MAX_ROW_BYTES else f"has more than {MAX_ROW_BYTES // BYTES_PER_KB} kB of text"


def _chunks(rows: Iterable[ProductDraft | RowProblem]) -> Iterator[list[ProductDraft | RowProblem]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield chunk


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path") from None


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(f"there is no folder {path}", hint="Name the folder of the images with --images")
    return path.resolve()
