"""Reads the header of a CSV file: its delimiter, and what its columns mean."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches

from framematch.catalog.importing.files.records import KNOWN_COLUMNS, Lines, known_name
from framematch.catalog.importing.files.text_file import SAVE_AS, is_text
from framematch.core.errors import CatalogError

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# Excel writes and reads it: the first line names the delimiter.
_NAMED_DELIMITER = re.compile(r'"?sep=(?P<delimiter>.)"?\s*', re.IGNORECASE)
_QUOTE_OPEN = "unexpected end of data"  # the csv module's words
_MAX_LINES = 50  # of a header; quoted names may contain line ends
_SHOWN_COLUMNS = 20
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class Header:
    """The names of the columns in order, "" for a column without a name, and the delimiter of all cells."""

    columns: tuple[str, ...]
    delimiter: str

    @property
    def image_column(self) -> int:
        """The index of the first column with names of images."""
        return next(index for index, name in enumerate(self.columns) if name in ("image", "images"))


def read_header(lines: Lines) -> Header:
    """Read the header: `id`, `name`, and `image` or `images` in any case and order, and other columns.

    Raises:
        CatalogError: a column is missing or named twice, or the file is no CSV.
    """
    first = lines.take() or ""
    if named := _NAMED_DELIMITER.fullmatch(first):
        delimiter, first = named["delimiter"], lines.take() or ""
    else:
        delimiter = _likely_delimiter(first)
    cells = _read_cells(first, lines, delimiter)
    if not is_text("".join(cells)) or "\0" in "".join(cells):
        raise CatalogError("the file is not UTF-8 text", hint=SAVE_AS)
    columns = tuple(known_name(cell) for cell in cells)
    if repeated := [name for name, count in Counter(filter(None, columns)).items() if count > 1]:
        raise CatalogError(f"the header names {repeated[0]!r} twice", hint="Give every column a name of its own")
    missing = [name for name in ("id", "name") if name not in columns]
    if not {"image", "images"} & set(columns):
        missing.append("image")
    if missing:
        what = " and no ".join(map(repr, missing))
        raise CatalogError(f"the header has no column {what}", hint=_missing_hint(missing, columns, delimiter))
    return Header(columns, delimiter)


def _read_cells(first: str, lines: Lines, delimiter: str) -> list[str]:
    taken = [first]
    while True:
        try:
            return next(csv.reader(taken, delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            is_open = _QUOTE_OPEN in str(error)
            more = lines.take() if is_open and len(taken) < _MAX_LINES else None
            if more is None:
                what = "a quote of the header is not closed" if is_open else f"the first line is no CSV header: {error}"
                raise CatalogError(what, hint="Close each quote, and write a quote inside of a name twice") from None
            taken.append(more)


def _likely_delimiter(header: str) -> str:
    """The delimiter that finds most of the known columns, else the most frequent one."""

    def found(delimiter: str) -> tuple[int, int]:
        names = {known_name(cell.strip().strip('"')) for cell in header.split(delimiter)}
        return len(names & KNOWN_COLUMNS), header.count(delimiter)

    return max(_DELIMITERS, key=found)


def _missing_hint(missing: list[str], columns: tuple[str, ...], delimiter: str) -> str:
    shown = [repr(name[:_SHOWN_CHARACTERS]) for name in columns[:_SHOWN_COLUMNS]]
    more = [f"and {len(columns) - _SHOWN_COLUMNS} more"] if len(columns) > _SHOWN_COLUMNS else []
    separated = f" (separated by {_DELIMITERS.get(delimiter, repr(delimiter))})" if len(columns) > 1 else ""
    advice = [_rename(name, columns) for name in missing]
    return f"The first line names {', '.join([*shown, *more])}{separated}. {'; '.join(advice)}"


def _rename(name: str, columns: tuple[str, ...]) -> str:
    others = {column.lower(): column for column in columns if column and column not in KNOWN_COLUMNS}
    nearest = get_close_matches(name, others, n=1) or [
        column for column in others if name in re.split(r"[\W_]+", column)
    ]
    return f"Rename {others[nearest[0]]!r} to {name!r}" if nearest else f"Give a column the name {name!r}"
