"""A record of a catalogue file: what its lines contain, whatever the format."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from framematch.catalog.importing.problems import ProblemKind

Fields = dict[str, Any]

KNOWN_COLUMNS = frozenset(
    {"id", "name", "category", "price", "description", "image", "images", "attributes", "currency", "skus"}
)


@dataclass(frozen=True)
class Defect:
    """Why a record cannot be read.

    `raw` is its text in the file, without the last line end, as far as the format has one and it is known; so the row
    can be written again. Bytes that are no text are lone surrogates in it.
    """

    kind: ProblemKind
    reason: str
    raw: str = ""


@dataclass(frozen=True)
class Record:
    """The lines `line` to `last_line` of a file (1 is the first): a row's fields, a defect, or None for blank lines.

    Where a file's records have no lines of their own (see `SourceFile.numbered_by`), both are the record's number.
    """

    line: int
    last_line: int
    content: Fields | Defect | None


class Lines:
    """The lines of a file one by one; lines that were taken can be given back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._given_back: list[str] = []  # the next one last
        self.number = 0
        """The number of the line that was taken last."""

    def take(self) -> str | None:
        """The next line, or None at the end of the file."""
        line = self._given_back.pop() if self._given_back else next(self._lines, None)
        if line is not None:
            self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        """Undo `take` for `lines`, which were taken last."""
        self._given_back.extend(reversed(lines))
        self.number -= len(lines)


def check_complete(records: Iterable[Record], lines: Lines) -> Iterator[Record]:
    """Pass `records` on, and check that they contain every line that is taken from now on, once and in order.

    Raises:
        AssertionError: they do not, so rows would be lost without a word: a defect of the reader.
    """
    last_line = lines.number  # of the header
    for record in records:
        if record.line != last_line + 1 or record.last_line < record.line:
            raise AssertionError(f"behind line {last_line} come the lines {record.line} to {record.last_line}")
        last_line = record.last_line
        yield record
    if last_line != lines.number:
        raise AssertionError(f"{lines.number} lines were read, but the last record ends on line {last_line}")


def known_name(name: str) -> str:
    """The name of a column or key, without spaces around it; known ones in lower case."""
    name = name.strip()
    return name.lower() if name.lower() in KNOWN_COLUMNS else name
