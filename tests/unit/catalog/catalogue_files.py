"""Parses catalogue files given as text or bytes."""

import io

from framematch.catalog.importing.problems import RowProblem
from framematch.catalog.importing.rows import BlankLines, ProductDraft, Row, parse_rows

HEADER = "id,name,category,price,description,image\n"
SHORT = "id,name,image\n"


def parse(file: str | bytes) -> list[Row]:
    """All rows of a catalogue file."""
    data = file.encode() if isinstance(file, str) else file
    return list(parse_rows(io.BufferedReader(io.BytesIO(data)), {}))


def only(file: str | bytes) -> ProductDraft:
    """The only row of a file, which is valid."""
    (row,) = parse(file)
    assert isinstance(row, ProductDraft), row
    return row


def problem(file: str | bytes) -> RowProblem:
    """The only row of a file, which is invalid."""
    (row,) = parse(file)
    assert isinstance(row, RowProblem), row
    return row


def outline(file: str | bytes) -> list[str]:
    """What each row of a file is: `1` a product with this id, `?4-9` a problem with its lines, `_4` blank lines."""
    marks = {RowProblem: "?", BlankLines: "_"}
    return [row.id if isinstance(row, ProductDraft) else f"{marks[type(row)]}{_lines(row)}" for row in parse(file)]


def _lines(row: RowProblem | BlankLines) -> str:
    return str(row.line) if row.line == row.last_line else f"{row.line}-{row.last_line}"
