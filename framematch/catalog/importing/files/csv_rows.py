"""Reads CSV rows: quoted cells may contain line ends, and a row whose quotes do not match costs no other row."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from framematch.catalog.importing.files.csv_table import CsvTable
from framematch.catalog.importing.files.lines_of_text import MAX_LINE_CHARACTERS, first_bad_byte, is_text
from framematch.catalog.importing.files.records import Defect, Fields, Lines, Record
from framematch.catalog.importing.problems import ProblemKind


@dataclass(frozen=True)
class _Refusal:
    """Why the lines that were taken are no row; it becomes a defect when it is known which lines belong to it."""

    kind: ProblemKind
    reason: str


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


class CsvRows:
    """Reads the rows behind the header.

    A row has as many cells as the header. More are accepted if they are empty: a delimiter too much loses nothing.
    Fewer are refused, also where the missing ones may have been empty: a row whose text has a line end without quotes,
    or that was cut, looks the same, and would be imported without its last cells. No shop's export leaves them out.

    When a quote is missing, the csv module takes everything up to the next quote of the file for one cell. So after a
    row that cannot be read, reading goes on at its second line, or behind its closing quote if that line cannot start
    a row.
    """

    def __init__(self, lines: Lines, table: CsvTable, encoding: str) -> None:
        self._lines = lines
        self._table = table
        self._encoding = encoding
        self._row = _RowLines(lines)
        # One for all rows: making one takes longer than reading a row. It starts anew after an error.
        self._cells = csv.reader(self._row, delimiter=table.delimiter, strict=True)

    def records(self) -> Iterator[Record]:
        """All records up to the end of the file."""
        while True:
            content = self._read()
            taken = self._row.taken
            if not taken:
                return
            first = self._lines.number - len(taken) + 1
            if isinstance(content, _Refusal):
                if content.kind is ProblemKind.QUOTES or len(taken) > 1:
                    self._lines.give_back(taken[1:])
                    taken = [taken[0], *self._skip_continuation()]
                raw = "".join(taken).rstrip("\r\n")
                yield Record(first, self._lines.number, Defect(content.kind, content.reason, raw))
            else:
                yield Record(first, self._lines.number, content)

    def _read(self) -> Fields | _Refusal | None:
        self._row.start_row()
        try:
            cells = next(self._cells, None)
        except csv.Error as error:
            return self._syntax_refusal(str(error))
        if cells is None or not any(cell.strip() for cell in cells):
            return None
        if any(len(line) > MAX_LINE_CHARACTERS for line in self._row.taken):
            return _Refusal(ProblemKind.TOO_LONG, f"the line has more than {MAX_LINE_CHARACTERS:,} characters")
        first, last = self._row.taken[0], self._row.taken[-1]
        if len(self._row.taken) > 1 and self._table.looks_like_row(first) and self._table.looks_like_row(last):
            return _Refusal(ProblemKind.QUOTES, f"a quote is not closed before line {self._lines.number}")
        return self._fields(cells)

    def _syntax_refusal(self, error: str) -> _Refusal:
        lines = len(self._row.taken)
        if lines == 1 and len(self._row.taken[0]) > csv.field_size_limit():
            return _Refusal(ProblemKind.TOO_LONG, f"a cell has more than {csv.field_size_limit():,} characters")
        if lines == 1 and "expected after" in error:
            escaped = '\\"' in self._row.taken[0]
            reason = 'has \\" where CSV writes ""' if escaped else "text follows a closing quote"
            return _Refusal(ProblemKind.QUOTES, reason)
        return _Refusal(ProblemKind.QUOTES, "a quote is not closed")

    def _skip_continuation(self) -> list[str]:
        """Take the next lines up to one with a quote, unless a row may start before it."""
        taken: list[str] = []
        while not self._row_may_start():
            line = self._lines.take()
            if line is None:
                break
            taken.append(line)
            if '"' in line:
                return taken
        self._lines.give_back(taken)
        return []

    def _row_may_start(self) -> bool:
        content = self._read()
        taken = self._row.taken
        self._lines.give_back(taken)
        delimiters = taken[0].count(self._table.delimiter) if taken else 0
        return isinstance(content, dict) or delimiters >= len(self._table.columns) - 1

    def _fields(self, cells: list[str]) -> Fields | _Refusal:
        columns = self._table.columns
        while len(cells) > len(columns) and not cells[-1].strip():
            cells.pop()
        if len(cells) != len(columns):
            return _Refusal(ProblemKind.CELLS, f"has {len(cells)} cells, the header {len(columns)}")
        if not is_text("".join(cells)):
            return _Refusal(ProblemKind.NOT_TEXT, self._not_text(cells))
        return {name: text for name, cell in zip(columns, cells, strict=True) if name and (text := cell.strip())}

    def _not_text(self, cells: list[str]) -> str:
        named = zip(self._table.columns, cells, strict=True)
        name, cell = next((name, cell) for name, cell in named if not is_text(cell))
        shown = cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")[:60]
        guess = f"; as Windows-1252 it reads {shown!r}" if self._encoding == "utf-8" else ""
        return f"{name or 'a cell'} has {first_bad_byte(cell)}, which is not {self._encoding} text{guess}"
