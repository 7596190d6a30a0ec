"""The first pass of an import: reads a file once into a spool, and finds out what its columns say together."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO

from framematch.catalog.importing.files.open_file import open_source
from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.files.source_file import ReadOptions, SourceFile
from framematch.catalog.importing.gathering.row_spool import RowSpool
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.importing.pictures.archives.opening import is_zip, open_archive_catalogue, open_pictures
from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.catalog.importing.pictures.picture_source import PictureSource
from framematch.catalog.importing.presets.find_header import find_header
from framematch.catalog.importing.presets.mapping import RowMapping, row_mapping
from framematch.catalog.importing.refused_rows import without_reasons
from framematch.catalog.importing.values.money import DecimalSign, decimal_sign

# The event loop has its turn after so many rows: a signal is handled, and the lease of an operation is renewed.
ROWS_AT_ONCE = 256
_REMEMBERED_PRICES = 10_000
_NUMBERED = "Records of this file have no lines of their own: line 5 is the fifth record."

Styles = Mapping[str, DecimalSign | None]
"""The decimal sign of each column with amounts of money; None if it is not known."""


@dataclass(frozen=True)
class Table:
    """An open file, what its columns mean, and where pictures with names are."""

    source: SourceFile
    mapping: RowMapping
    pictures: PictureSource


@dataclass(frozen=True)
class RowCounts:
    """How many rows a file has, and how many lines that are none."""

    rows: int
    blank_lines: int


@contextmanager
def open_table(path: Path, options: ImportOptions) -> Iterator[Table]:
    """Open a shop's table, or an archive with one, and find out which shop it is of.

    Raises:
        UsageError: the file cannot be read, or an option is wrong.
        CatalogError: it is no table of products.
    """
    with ExitStack() as opened:
        file: Path | IO[bytes] = path
        pictures: PictureSource | None = None
        if is_zip(path):
            archive = opened.enter_context(open_archive_catalogue(path))
            file, pictures = archive.file, archive.pictures
        wanted = options.mapping
        found = opened.enter_context(
            open_source(
                file, ReadOptions(options.encoding), lambda rows: find_header(rows, wanted.preset, wanted.fields)
            )
        )
        if options.images:
            pictures = opened.enter_context(open_pictures(options.images))
        elif pictures is None:
            # Nobody has said that its files are the pictures of web addresses: the same name may be chance.
            pictures = PictureFolder(path.parent.resolve(), has_addresses=False)
        source = without_reasons(found)
        if source.numbered_by == "record":
            source = replace(source, notices=(*source.notices, _NUMBERED))
        decimal: DecimalSign | None = "." if source.format == "Parquet" else None  # its texts are of exact numbers
        mapping = replace(wanted, is_csv=source.delimiter is not None, decimal=wanted.decimal or decimal)
        yield Table(source, row_mapping(source.columns, mapping), pictures)


async def read_rows(table: Table, spool: RowSpool, on_progress: Callable[[int], None]) -> tuple[RowCounts, Styles]:
    """Put all rows into the spool, by what those of one product have in common; find the columns' decimal signs.

    `on_progress` takes the number of rows so far.

    Raises:
        CatalogError: the file ends in an unknown way, or the disk is full.
    """
    signs: dict[str, set[DecimalSign]] = {}
    rows = blank_lines = 0
    for record, keys in _with_keys(table):
        if record.content is None:
            blank_lines += record.last_line - record.line + 1
            continue
        rows += 1
        spool.add(record, keys)
        if isinstance(record.content, dict):
            for column, text in table.mapping.price_cells(record.content):
                if sign := _sign(text):
                    signs.setdefault(column, set()).add(sign)
        if rows % ROWS_AT_ONCE == 0:
            on_progress(rows)
            await asyncio.sleep(0)
    on_progress(rows)
    styles: dict[str, DecimalSign | None] = {
        column: next(iter(found)) if len(found) == 1 else None for column, found in signs.items()
    }
    return RowCounts(rows, blank_lines), styles


def _with_keys(table: Table) -> Iterator[tuple[Record, tuple[str, ...]]]:
    """All records, with what the rows of one product have in common.

    A row that cannot be read may be of the product before or behind it, if products have several rows. So both are
    refused with it: a product that lacked one of its articles would take the place of a whole one.
    """
    before: tuple[str, ...] = ()
    unreadable: list[Record] = []
    for record in table.source.records:
        if isinstance(record.content, Defect):
            unreadable.append(record)
            continue
        if record.content is None:
            yield record, ()
            continue
        keys = table.mapping.group_keys(record.content)
        yield from ((one, _of_several(table, before) + _of_several(table, keys)) for one in unreadable)
        unreadable, before = [], keys
        yield record, keys
    yield from ((one, _of_several(table, before)) for one in unreadable)


def _of_several(table: Table, keys: tuple[str, ...]) -> tuple[str, ...]:
    """The keys, if the product may have other rows than the one with them."""
    return keys if table.mapping.layout != "flat" or any(key.startswith("group:") for key in keys) else ()


@lru_cache(_REMEMBERED_PRICES)
def _sign(text: str) -> DecimalSign | None:
    return decimal_sign([text])
