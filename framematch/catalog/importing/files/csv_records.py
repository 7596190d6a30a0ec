"""Reads CSV rows: quoted cells may contain line ends, and a row whose quotes do not match costs no other row."""

import csv
import re
from collections.abc import Iterator

from framematch.catalog.importing.files.csv_header import Header
from framematch.catalog.importing.files.records import Defect, Fields, Lines, Record
from framematch.catalog.importing.files.text_file import MAX_LINE_CHARACTERS, is_text
from framematch.catalog.importing.problems import ProblemKind

_PICTURE_NAME = re.compile(r"\.[A-Za-z0-9]{2,5}\"?\s*$")


class _RowLines:
    """Supplies `csv.reader` with the lines of one row; ends when a row cannot be so long."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.taken: list[str] = []
        self._characters = 0

    def start_row(self) -> None:
        self.taken, self._characters = [], 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._lines.take() if self._characters <= MAX_LINE_CHARACTERS else None
        if line is None:
            raise StopIteration
        self.taken.append(line)
        self._characters += len(line)
        return line


class CsvReader:
    """Reads the rows behind the header.

    When a quote is missing, the csv module takes everything up to the next quote of the file for one cell. So after a
    row that cannot be read, reading goes on at its second line, or behind its closing quote if that line cannot start
    a row.
    """

    def __init__(self, lines: Lines, header: Header) -> None:
        self._lines = lines
        self._header = header
        self._row = _RowLines(lines)
        # One for all rows: making one takes longer than reading a row. It starts anew after an error.
        self._cells = csv.reader(self._row, delimiter=header.delimiter, strict=True)

    def records(self) -> Iterator[Record]:
        """All records up to the end of the file."""
        while True:
            content = self._read()
            if not self._row.taken:
                return
            first = self._lines.number - len(self._row.taken) + 1
            if isinstance(content, Defect) and (content.kind is ProblemKind.QUOTES or len(self._row.taken) > 1):
                self._lines.give_back(self._row.taken[1:])
                self._skip_continuation()
            yield Record(first, self._lines.number, content)

    def _read(self) -> Fields | Defect | None:
        self._row.start_row()
        try:
            cells = next(self._cells, None)
        except csv.Error as error:
            return self._syntax_defect(str(error))
        if cells is None or not any(cell.strip() for cell in cells):
            return None
        if any(len(line) > MAX_LINE_CHARACTERS for line in self._row.taken):
            return Defect(ProblemKind.TOO_LONG, f"the line has more than {MAX_LINE_CHARACTERS:,} characters")
        first, last = self._row.taken[0], self._row.taken[-1]
        if len(self._row.taken) > 1 and self._looks_like_row(first) and self._looks_like_row(last):
            return Defect(ProblemKind.QUOTES, f"a quote is not closed before line {self._lines.number}")
        return _fields(self._header.columns, cells)

    def _syntax_defect(self, error: str) -> Defect:
        lines = len(self._row.taken)
        if lines == 1 and len(self._row.taken[0]) > csv.field_size_limit():
            return Defect(ProblemKind.TOO_LONG, f"a cell has more than {csv.field_size_limit():,} characters")
        if lines == 1 and "expected after" in error:
            escaped = '\\"' in self._row.taken[0]
            reason = 'has \\" where CSV writes ""' if escaped else "text follows a closing quote"
            return Defect(ProblemKind.QUOTES, reason)
        return Defect(ProblemKind.QUOTES, "a quote is not closed")

    def _looks_like_row(self, line: str) -> bool:
        """Whether the line alone, whatever its quotes, has all cells, and the name of a picture in its column."""
        cells = line.split(self._header.delimiter)
        return len(cells) == len(self._header.columns) and bool(_PICTURE_NAME.search(cells[self._header.image_column]))

    def _skip_continuation(self) -> None:
        """Take the next lines up to one with a quote, unless a row may start before it."""
        taken: list[str] = []
        while not self._row_may_start():
            line = self._lines.take()
            if line is None:
                break
            taken.append(line)
            if '"' in line:
                return
        self._lines.give_back(taken)

    def _row_may_start(self) -> bool:
        content = self._read()
        taken = self._row.taken
        self._lines.give_back(taken)
        delimiters = taken[0].count(self._header.delimiter) if taken else 0
        return isinstance(content, dict) or delimiters >= len(self._header.columns) - 1


def _fields(columns: tuple[str, ...], cells: list[str]) -> Fields | Defect:
    # A delimiter too much at the end of a row loses nothing.
    while len(cells) > len(columns) and not cells[-1].strip():
        cells.pop()
    if len(cells) != len(columns):
        return Defect(ProblemKind.CELLS, f"has {len(cells)} cells, the header {len(columns)}")
    if not is_text("".join(cells)):
        return Defect(ProblemKind.NOT_TEXT, _not_text(columns, cells))
    return {name: text for name, cell in zip(columns, cells, strict=True) if name and (text := cell.strip())}


def _not_text(columns: tuple[str, ...], cells: list[str]) -> str:
    name, cell = next((name, cell) for name, cell in zip(columns, cells, strict=True) if not is_text(cell))
    shown = cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")[:60]
    return f"{name or 'a cell'} is not UTF-8 text; as Windows-1252 it reads {shown!r}"
