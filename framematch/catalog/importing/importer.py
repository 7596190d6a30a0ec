"""Imports a shop's table in two passes, and stores of it what differs. An import can be repeated at any time."""

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from framematch.catalog.document_limits import storage_problem
from framematch.catalog.importing.accounts import Accounts, Fate, ImportReport
from framematch.catalog.importing.files.records import Record
from framematch.catalog.importing.first_pass import Styles, Table, open_table, read_rows
from framematch.catalog.importing.gathering.gather import gather
from framematch.catalog.importing.gathering.product_group import ProductGroup
from framematch.catalog.importing.gathering.row_spool import RowSpool
from framematch.catalog.importing.gathering.visual_products import VisualProduct, visual_products
from framematch.catalog.importing.import_state import unfinished_import
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.importing.pictures.catalogue_pictures import CataloguePictures, PictureProblem
from framematch.catalog.importing.pictures.stored_pictures import StoredPictures
from framematch.catalog.importing.pictures.web.allowed_hosts import AllowedHosts
from framematch.catalog.importing.pictures.web.web_pictures import WebOptions, open_web_pictures
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.importing.protected_ids import ProtectedIds
from framematch.catalog.importing.prune import lacking_products
from framematch.catalog.importing.refused_rows import RefusedRows, refused_path
from framematch.catalog.product import View
from framematch.catalog.products import ProductStore
from framematch.core.errors import UsageError
from framematch.core.progress import OnProgress

log = structlog.get_logger()

# For each round trip to MongoDB. A group may have more.
CHUNK_ROWS = 128
CHUNK_PICTURES = 256
# For decoding, which takes most of the time; Pillow releases the GIL meanwhile.
THREADS = 2

Rows = Sequence[Record]
"""All rows of one product."""
Views = Mapping[str, View | PictureProblem]


async def import_products(
    path: Path, options: ImportOptions, store: ProductStore, on_progress: OnProgress = lambda _done, _total: None
) -> ImportReport:
    """Import the products of a shop's table, and their pictures.

    Pass 1 reads the file once into a spool, and finds out what its columns say together. Pass 2 takes the rows of one
    product after another, makes visual products of them, and stores those that the catalogue does not have as they
    are. A product with a row that is refused is refused as a whole. Products that are not in the file are kept.

    `on_progress` counts rows; the total is 0 as long as the file is read. What it raises ends the import.

    Raises:
        UsageError: the file or the pictures cannot be read, the file of refused rows cannot be written, or an option
            is wrong.
        CatalogError: the file is no table of products.
        MongoUnavailableError: MongoDB became unavailable.
    """
    AllowedHosts(options.allowed_hosts, any_public_host=options.any_public_host)  # refuses what is no host
    began_at, before = datetime.now(UTC), _file_state(path)
    with open_table(path, options) as table, RowSpool() as spool:
        counts, styles = await read_rows(table, spool, lambda rows: on_progress(rows, 0))
        file_changed = _file_state(path) != before
        accounts = Accounts(counts.rows, counts.blank_lines, table.source.notices)
        async with AsyncExitStack() as opened:
            fresh_since = await opened.enter_async_context(unfinished_import(path, options, store.database))
            refused = opened.enter_context(_refused_rows(path, options, table))
            pictures = await opened.enter_async_context(_pictures(table, options, store, fresh_since))
            if not options.dry_run:
                await store.ensure_indexes()
            second_pass = SecondPass(
                table, styles, options, store=store, pictures=pictures, accounts=accounts, refused=refused
            )
            on_progress(0, counts.rows)
            await second_pass.run(spool, lambda: on_progress(accounts.done, counts.rows))
        report = accounts.report(pictures.notices)
    report = replace(
        report,
        file_changed=file_changed,
        dry_run=options.dry_run,
        refused_file=refused.path if refused and refused.count else None,
    )
    if second_pass.protected:
        report = await _with_lacking(report, second_pass.protected, store, began_at)
    _log(report)
    return report


async def _with_lacking(
    report: ImportReport, in_file: ProtectedIds, store: ProductStore, began_at: datetime
) -> ImportReport:
    """The report with the products that the file lacks, if that can be said."""
    unknown = "the file was changed while it was read" if report.file_changed else in_file.unknown
    if not report.good:
        unknown = "the file has no product that could be imported"
    if unknown:
        return replace(report, not_lacking=unknown)
    added = 0 if report.dry_run else report.added
    return replace(report, lacking=await lacking_products(store, in_file, began_at, added))


@asynccontextmanager
async def _pictures(
    table: Table, options: ImportOptions, store: ProductStore, fresh_since: datetime | None
) -> AsyncIterator[StoredPictures]:
    async with AsyncExitStack() as opened:
        pool = opened.enter_context(ThreadPoolExecutor(THREADS, "import"))
        web = None
        if options.allowed_hosts or options.any_public_host:
            allowed = WebOptions(options.allowed_hosts, options.any_public_host, fresh_since)
            web = await opened.enter_async_context(open_web_pictures(store, allowed))
        yield StoredPictures(store, pool, table.pictures, web)


def _refused_rows(path: Path, options: ImportOptions, table: Table) -> AbstractContextManager[RefusedRows | None]:
    source = table.source
    if options.refused is None and options.refused_folder is None:
        return nullcontext()
    target = refused_path(options.refused, path, options.refused_folder or Path(), is_csv=source.format == "CSV")
    return RefusedRows(target, source)


def _file_state(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written to; None for a pipe.

    Raises:
        UsageError: there is no file.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path") from None
    return (state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def _log(report: ImportReport) -> None:
    log.info(
        "catalog_imported",
        read=report.read,
        added=report.added,
        changed=report.changed,
        same=report.same,
        merged=report.merged,
        refused=report.refused,
    )


@dataclass(frozen=True)
class Group:
    """A product of the file whose rows are good, and these rows."""

    rows: Rows
    product: ProductGroup


class SecondPass:
    """Imports products from the spool, some at once."""

    def __init__(
        self,
        table: Table,
        styles: Styles,
        options: ImportOptions,
        *,
        store: ProductStore,
        pictures: CataloguePictures,
        accounts: Accounts,
        refused: RefusedRows | None,
    ) -> None:
        self._table, self._styles, self._options = table, styles, options
        self._store, self._pictures = store, pictures
        self._accounts, self._refused = accounts, refused
        self.protected = ProtectedIds(table.mapping) if options.find_lacking else None

    def chunks(self, spool: RowSpool) -> Iterator[list[Group]]:
        """The products whose rows are good, up to `CHUNK_ROWS` rows or `CHUNK_PICTURES` names of pictures at once."""
        chunk: list[Group] = []
        rows = pictures = 0
        for records in spool.groups():
            rows += len(records)
            if (group := self._group(records)) is not None:
                chunk.append(group)
                pictures += len(group.product.picture_names)
            if rows >= CHUNK_ROWS or pictures >= CHUNK_PICTURES:
                yield chunk
                chunk, rows, pictures = [], 0, 0
        yield chunk

    async def run(self, spool: RowSpool, on_chunk: Callable[[], None]) -> None:
        """Import all products. While those of a chunk are written, the pictures of the next one are stored."""
        writing = asyncio.create_task(asyncio.sleep(0))
        try:
            for chunk in self.chunks(spool):
                views = await self._views(chunk)
                await writing
                writing = asyncio.create_task(self._write(chunk, views))
                on_chunk()
            await writing
        finally:  # after an error too: nothing is written behind the end of an import
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        on_chunk()

    async def _views(self, chunk: Sequence[Group]) -> Views:
        names = dict.fromkeys(name for group in chunk for name in group.product.picture_names)
        return await (self._pictures.look(names) if self._options.dry_run else self._pictures.store(names))

    async def _write(self, chunk: Sequence[Group], views: Views) -> None:
        """Store the products that the catalogue does not have as they are."""
        found = [(group, self._visual_products(group, views)) for group in chunk]
        products = [one.product for _, visual in found for one in visual]
        compared = await self._store.compare(products)
        fates = dict.fromkeys((product.id for product in compared.added), Fate.ADDED)
        fates |= dict.fromkeys((product.id for product in compared.changed), Fate.CHANGED)
        fates |= dict.fromkeys((product.id for product in compared.same), Fate.SAME)
        if not self._options.dry_run:
            await self._store.upsert_many([*compared.added, *compared.changed])
        for group, visual in found:
            if visual:
                lines = [row.line for row in group.rows]
                self._accounts.take(lines, [(one.place.line, fates[one.product.id]) for one in visual])
        if self._refused:
            self._refused.flush()

    def _group(self, rows: Rows) -> Group | None:
        """The product of these rows; None if they are refused."""
        read = [self._table.mapping.source_row(row, self._styles) for row in rows]
        gathered = gather(read, self._table.mapping.layout)
        if not isinstance(gathered, ProductGroup):
            self._refuse(rows, gathered)
            return None
        return Group(rows, gathered)

    def _visual_products(self, group: Group, views: Views) -> tuple[VisualProduct, ...]:
        """What a camera can tell apart of a product; empty if it is refused."""
        found = visual_products(group.product, views, strict=self._options.strict)
        problems = [one for one in found if isinstance(one, RowProblem)]
        visual = tuple(one for one in found if isinstance(one, VisualProduct))
        problems += [problem for one in visual if (problem := self._problem(one))]
        if problems:
            self._refuse(group.rows, problems)
            return ()
        for one in visual:
            self._accounts.lines_by_id[one.product.id] = group.rows[0].line
            if self.protected:
                self.protected.add(one.product.id)
            self._accounts.owners.add(one.product.id, (view.image for view in one.product.views))
            self._accounts.note(one.notices)
        return visual

    def _problem(self, one: VisualProduct) -> RowProblem | None:
        """Why a product cannot be stored."""
        place = one.place
        first = self._accounts.lines_by_id.get(one.product.id)
        if first is not None:
            reason = f"id {one.product.id!r} is also the product of line {first}"
            return RowProblem(place.line, place.last_line, ProblemKind.DUPLICATE, reason)
        if problem := storage_problem(one.product):
            return RowProblem(place.line, place.last_line, *problem)
        return None

    def _refuse(self, rows: Rows, problems: Sequence[RowProblem]) -> None:
        """Refuse all rows of a product; those without a problem of their own belong to one that has."""
        by_line = {problem.line: problem for problem in reversed(problems)}
        why = f"belongs to the product of line {problems[0].line}"
        of_rows = [by_line.get(row.line) or RowProblem(row.line, row.last_line, ProblemKind.GROUP, why) for row in rows]
        self._accounts.refuse(of_rows)
        if self.protected:
            self.protected.add_refused(rows)
        if self._refused:
            for row, problem in zip(rows, of_rows, strict=True):
                self._refused.write(row, problem.reason)
