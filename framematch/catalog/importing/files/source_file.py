"""What is known about an open catalogue file, and its records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from framematch.catalog.importing.files.records import Record

Format = Literal["CSV", "JSON lines", "JSON", "JSON-LD", "RSS", "Atom", "XML", "Parquet"]


@dataclass(frozen=True)
class HeaderPlace:
    """Where the header of a CSV file is: the index of its row among the first rows, None for a file without one.

    `columns` are the names of all columns, "" for a column without a name.
    """

    row: int | None
    columns: tuple[str, ...]


FindHeader = Callable[[Sequence[Sequence[str]]], HeaderPlace]
"""Finds the header among the cells of the first rows of a CSV file. Raises CatalogError if there is none."""


@dataclass(frozen=True)
class SourceFile:
    """An open file.

    Attributes:
        encoding: such as `utf-8` or `cp1252`.
        delimiter: of CSV, else None.
        columns: the names that the file has, in order and in its own spelling; of formats without a header those of
            the first records.
        notices: what the user should know, in sentences, such as a guessed encoding.
        records: all records behind the header; their fields have the file's own names.
    """

    format: Format
    encoding: str
    delimiter: str | None
    columns: tuple[str, ...]
    notices: tuple[str, ...]
    records: Iterator[Record]
