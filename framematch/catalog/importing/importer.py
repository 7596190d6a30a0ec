"""Imports a catalogue file: stores valid rows with their images in MongoDB and reports the others. Idempotent."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.catalog.importing.pictures.picture_source import Respelling
from framematch.catalog.importing.pictures.row_images import HELD_BYTES, RowImages
from framematch.catalog.importing.problems import RowProblem
from framematch.catalog.importing.rows import BlankLines, ProductDraft, Row, parse_rows, similar_ids
from framematch.catalog.products import ProductStore
from framematch.catalog.shared_pictures import PictureOwners, SharedPictures
from framematch.core.errors import UsageError
from framematch.core.progress import OnProgress

log = structlog.get_logger()

# Rows for each round trip to MongoDB, or fewer if their images have more than `HELD_BYTES`.
CHUNK_ROWS = 64
# For decoding, which takes most of the time; Pillow releases the GIL meanwhile.
THREADS = 2
_EXAMPLES = 3


@dataclass(frozen=True)
class ImportReport:
    """What became of the rows of a file: read = added + changed + unchanged + left out.

    Attributes:
        read: rows of the file, without the header and blank lines.
        problems: why rows were left out, in the order of their lines.
        blank_lines: lines without content or with empty cells only.
        respelled, respellings: how many images were found under another name, and the first of them.
        shared: pictures that several products of the file have.
        similar_ids: the first pairs of ids that differ only in case or spaces; they are different products.
        file_changed: the file was written to while it was read.
    """

    read: int
    added: int
    changed: int
    unchanged: int
    problems: tuple[RowProblem, ...]
    blank_lines: int = 0
    respelled: int = 0
    respellings: tuple[Respelling, ...] = ()
    shared: SharedPictures = field(default_factory=SharedPictures)
    similar_ids: tuple[tuple[str, str], ...] = ()
    file_changed: bool = False

    def __post_init__(self) -> None:
        """Check that each row was counted once.

        Raises:
            AssertionError: rows were lost, or counted twice: a defect of the import.
        """
        if self.read != self.good + self.left_out:
            raise AssertionError(f"{self.read} rows were read, but {self.good} imported and {self.left_out} left out")

    @property
    def good(self) -> int:
        """How many rows are in the catalogue now."""
        return self.added + self.changed + self.unchanged

    @property
    def left_out(self) -> int:
        """How many rows were not imported."""
        return len(self.problems)


async def import_products(
    path: Path, images_dir: Path, store: ProductStore, on_progress: OnProgress = lambda _done, _total: None
) -> ImportReport:
    """Import the products of a CSV or JSON lines file (see `parse_rows`) with their images.

    Image paths are relative to `images_dir` and must not lead out of it; see `PictureFolder.find` for other spellings.
    A row is imported with all of its images or not at all. An existing product is replaced if it differs; products
    that are not in the file are kept. Importing a file again changes nothing, so an interrupted import can simply be
    repeated. Memory: about `HELD_BYTES` of images, twice while they are written, and the ids of all rows.

    `on_progress` counts bytes of the file; it is not called for a pipe.

    Raises:
        UsageError: the file or the folder cannot be read.
        CatalogError: the file is no catalogue.
        MongoUnavailableError: MongoDB became unavailable.
    """
    folder = PictureFolder(_folder(images_dir))
    with _open(path) as file, ThreadPoolExecutor(THREADS, "import") as pool:
        before = os.fstat(file.fileno())
        await store.ensure_indexes()
        counts = _Counts(store, RowImages(folder, store, pool))
        for chunk in _chunks(parse_rows(file, counts.lines_by_id), folder):
            await counts.store(chunk)
            if file.seekable():
                on_progress(min(file.tell(), before.st_size), before.st_size)
        after = os.fstat(file.fileno())
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    report = counts.report(file_changed=changed)
    log.info(
        "catalog_imported",
        read=report.read,
        added=report.added,
        changed=report.changed,
        unchanged=report.unchanged,
        problems=report.left_out,
    )
    return report


class _Counts:
    """Stores rows, and counts what becomes of them."""

    def __init__(self, store: ProductStore, images: RowImages) -> None:
        self._store = store
        self._images = images
        self._read = self._added = self._changed = self._unchanged = self._blank_lines = self._respelled = 0
        self._problems: list[RowProblem] = []
        self._respellings: list[Respelling] = []
        self._owners = PictureOwners()
        self.lines_by_id: dict[str, int] = {}

    async def store(self, rows: Sequence[Row]) -> None:
        """Store the valid ones of these rows with their images."""
        self._blank_lines += sum(row.last_line - row.line + 1 for row in rows if isinstance(row, BlankLines))
        self._read += sum(not isinstance(row, BlankLines) for row in rows)
        products, refused, found = await self._images.store([row for row in rows if isinstance(row, ProductDraft)])
        self._problems += [*(row for row in rows if isinstance(row, RowProblem)), *refused]
        self._respelled += len(found)
        self._respellings += found[: _EXAMPLES - len(self._respellings)]
        compared = await self._store.compare(products)
        await self._store.upsert_many([*compared.added, *compared.changed])
        self._added += len(compared.added)
        self._changed += len(compared.changed)
        self._unchanged += len(compared.same)
        for product in products:
            self._owners.add(product.id, (view.image for view in product.views))

    def report(self, *, file_changed: bool) -> ImportReport:
        """What became of all rows."""
        return ImportReport(
            read=self._read,
            added=self._added,
            changed=self._changed,
            unchanged=self._unchanged,
            problems=tuple(sorted(self._problems, key=lambda problem: problem.line)),
            blank_lines=self._blank_lines,
            respelled=self._respelled,
            respellings=tuple(self._respellings),
            shared=self._owners.shared(),
            similar_ids=similar_ids(self.lines_by_id)[:_EXAMPLES],
            file_changed=file_changed,
        )


def _chunks(rows: Iterable[Row], folder: PictureFolder) -> Iterator[list[Row]]:
    """Up to `CHUNK_ROWS` rows whose images have up to `HELD_BYTES`; one row may have more."""
    chunk: list[Row] = []
    chunk_bytes = 0
    for row in rows:
        row_bytes = sum(map(folder.size, row.images)) if isinstance(row, ProductDraft) else 0
        if chunk and (len(chunk) == CHUNK_ROWS or chunk_bytes + row_bytes > HELD_BYTES):
            yield chunk
            chunk, chunk_bytes = [], 0
        chunk.append(row)
        chunk_bytes += row_bytes
    if chunk:
        yield chunk


def _open(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path") from None


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(f"there is no folder {path}", hint="Name the folder of the images with --images")
    return path.resolve()
