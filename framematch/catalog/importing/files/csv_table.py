"""What is known about a CSV file before its rows are read: the delimiter, the header, and what its rows look like."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from framematch.catalog.importing.files.lines_of_text import MAX_LINE_CHARACTERS, is_text
from framematch.catalog.importing.files.records import Lines
from framematch.catalog.importing.files.source_file import FindHeader, HeaderPlace
from framematch.core.errors import CatalogError

DELIMITERS = (",", ";", "\t", "|")
# Excel writes and reads it: the first line names the delimiter.
_NAMED_DELIMITER = re.compile(r'"?sep=(?P<delimiter>.)"?\s*', re.IGNORECASE)
_SAMPLE_RECORDS = 50
_SAMPLE_LINES = 5_000
_SAMPLE_CHARACTERS = 2 * MAX_LINE_CHARACTERS
_RECORD_LINES_MAX = 500  # a quoted cell with more in the first rows is a quote that was not closed
# What tells a line that is a row from one that is text in a cell: columns whose cells are all of this kind.
_KINDS = (re.compile(r"[-+]?[\d.,]+"), re.compile(r"[^\s\"]+"))
_TELLING_SHARE = 0.9


@dataclass(frozen=True)
class CsvTable:
    """The names of the columns in order, "" for a column without a name, and the delimiter of all cells.

    `kinds` has for some columns the pattern that their cells match in the first rows.
    """

    columns: tuple[str, ...]
    delimiter: str
    kinds: tuple[tuple[int, re.Pattern[str]], ...] = ()
    notices: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def looks_like_row(self, line: str) -> bool:
        """Whether the line alone has all cells, and in the telling columns what rows have.

        The quotes of one cell may not match. Of more, they enclose delimiters: then the line is not all of a row.
        """
        cells = line.split(self.delimiter)
        unmatched = sum(cell.count('"') % 2 for cell in cells)
        return (
            len(cells) == len(self.columns)
            and unmatched <= 1
            and all(not (cell := cells[index].strip().strip('"')) or kind.fullmatch(cell) for index, kind in self.kinds)
        )


@dataclass(frozen=True)
class _SampleRow:
    """A record of the first lines; `lines` is how many it has."""

    first: int
    lines: int
    cells: tuple[str, ...]


def read_table(lines: Lines, find_header: FindHeader) -> CsvTable:
    """Find delimiter and header, and take all lines up to the header's end.

    The delimiter is the one with one constant number of cells in the first 50 records, if `find_header` finds a header
    with it; else the next one. A first line `sep=;` names it.

    Raises:
        CatalogError: there is no header, or the file is no CSV.
    """
    first = lines.take() or ""
    if named := _NAMED_DELIMITER.fullmatch(first):
        candidates: Sequence[str] = (named["delimiter"],)
    else:
        candidates = DELIMITERS
        lines.give_back([first])
    sample = _take_sample(lines)
    if sample and len(sample[0]) > MAX_LINE_CHARACTERS:
        raise CatalogError(f"the first line has more than {MAX_LINE_CHARACTERS:,} characters", hint="Give it a header")
    rows, place, delimiter = _first_with_header(sample, candidates, find_header)
    header_end = 0 if place.row is None else rows[place.row].first + rows[place.row].lines
    lines.give_back(sample[header_end:])
    columns, repeated, notices = distinct_names(place.columns)
    data = [row for row in rows if row.first >= header_end]
    return CsvTable(columns, delimiter, _telling_columns(data, len(columns)), notices, repeated)


def _take_sample(lines: Lines) -> list[str]:
    taken: list[str] = []
    characters = 0
    while len(taken) < _SAMPLE_LINES and characters < _SAMPLE_CHARACTERS and (line := lines.take()) is not None:
        taken.append(line)
        characters += len(line)
    return taken


def _first_with_header(
    sample: list[str], candidates: Sequence[str], find_header: FindHeader
) -> tuple[list[_SampleRow], HeaderPlace, str]:
    read = {delimiter: list(islice(_sample_rows(sample, delimiter), _SAMPLE_RECORDS)) for delimiter in candidates}
    ranked = sorted(candidates, key=lambda delimiter: _consistency(read[delimiter]), reverse=True)
    refused: CatalogError | None = None
    for delimiter in ranked:
        rows = [row for row in read[delimiter] if any(cell.strip() for cell in row.cells)]
        try:
            place = find_header([row.cells for row in rows])
        except CatalogError as error:
            refused = refused or error
            continue
        if place.row is not None and not is_text("".join(rows[place.row].cells)):
            raise CatalogError(
                "the header has bytes that are no text in the file's encoding", hint="State it with --encoding"
            )
        return rows, place, delimiter
    raise refused or CatalogError("the file has no rows", hint="Save it as CSV with a header line")


def _sample_rows(sample: list[str], delimiter: str) -> Iterator[_SampleRow]:
    """The records of the first lines; a line whose quotes do not match stands for itself."""
    index = 0
    while index < len(sample):
        taken = 0

        def feed(start: int = index) -> Iterator[str]:
            nonlocal taken
            for line in sample[start : start + _RECORD_LINES_MAX]:
                taken += 1
                yield line

        try:
            cells = next(csv.reader(feed(), delimiter=delimiter, strict=True), [])
        except csv.Error:
            taken, cells = 1, sample[index].split(delimiter)
        yield _SampleRow(index, taken, tuple(cells))
        index += max(taken, 1)


def _consistency(rows: list[_SampleRow]) -> tuple[float, int]:
    """How constant the number of cells is, and that number. Cells beyond it that are empty do not count."""
    counts = [len(row.cells) for row in rows if any(cell.strip() for cell in row.cells)]
    if not counts:
        return 0.0, 0
    usual, _ = max(Counter(counts).items(), key=lambda item: (item[1], item[0]))
    if usual < 2:  # noqa: PLR2004  # one cell: the delimiter does not occur
        return 0.0, usual
    full = [row for row in rows if len(row.cells) >= usual and not any(c.strip() for c in row.cells[usual:])]
    # A row before the header, or a decimal comma in every row but the header.
    starts_so = bool(full) and full[0] is next(row for row in rows if any(cell.strip() for cell in row.cells))
    return len(full) / len(counts) * (1.0 if starts_so else 0.5), usual


def distinct_names(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The names without spaces around them; one that was there before gets a number, and is told."""
    found: list[str] = []
    seen: Counter[str] = Counter()
    taken = {name.strip() for name in names}
    for cell in names:
        name = cell.removeprefix("\ufeff").strip()
        seen[name] += 1
        if name and seen[name] > 1:
            base, number = name, seen[name]
            while (name := f"{base} ({number})") in taken:
                number += 1
            taken.add(name)
        found.append(name)
    repeated = tuple(name for name, count in seen.items() if name and count > 1)
    notices = tuple(
        f"The header names {name[:40]!r} {seen[name]} times; the second is read as {f'{name[:40]} (2)'!r}."
        for name in repeated[:3]
    )
    if len(repeated) > len(notices):
        notices += (f"The header names {len(repeated)} columns several times.",)
    return tuple(found), repeated, notices


def _telling_columns(rows: list[_SampleRow], width: int) -> tuple[tuple[int, re.Pattern[str]], ...]:
    whole = [row.cells for row in rows if row.lines == 1 and len(row.cells) == width]
    telling: list[tuple[int, re.Pattern[str]]] = []
    for index in range(width):
        cells = [cell for cells in whole if (cell := cells[index].strip())]
        for kind in _KINDS:
            matching = sum(bool(kind.fullmatch(cell)) for cell in cells)
            if cells and matching >= _TELLING_SHARE * len(cells) and len(cells) * 2 >= len(whole):
                telling.append((index, kind))
                break
    return tuple(telling)
