"""What is known about an open catalogue file, and its records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
class ReadOptions:
    """What the user states about a file; an encoding that is stated wins over every other sign."""

    encoding: str | None = None


@dataclass(frozen=True)
class Progress:
    """How many bytes of how many were read; what gzip has packed counts packed."""

    done_bytes: Callable[[], int]
    total_bytes: int


@dataclass(frozen=True)
class SourceFile:
    """An open file.

    Attributes:
        encoding: such as `utf-8` or `cp1252`.
        delimiter: of CSV, else None.
        columns: the names that the file has, in order and in its own spelling; of formats without a header those of
            the first records. In CSV a name that was there before gets a number: `color`, `color (2)`.
        notices: what the user should know, in sentences, such as a guessed encoding.
        records: all records behind the header, to be read once; their fields have the file's own names, empty ones are
            absent. If the file ends in the middle, the last one is a defect of the kind `CUT`.
        repeated_columns: the names that a CSV header has several times.
        numbered_by: what a record's `line` is. `record`: its number, where several records may share a line (minified
            JSON or XML) or there are no lines (Parquet).
        progress: how much of the file was read.
    """

    format: Format
    encoding: str
    delimiter: str | None
    columns: tuple[str, ...]
    notices: tuple[str, ...]
    records: Iterator[Record]
    repeated_columns: tuple[str, ...] = ()
    numbered_by: Literal["line", "record"] = "line"
    progress: Progress = field(default_factory=lambda: Progress(lambda: 0, 0))
