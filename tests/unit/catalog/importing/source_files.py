"""Opens catalogue files given as text or bytes, and says what their records are."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from framematch.catalog.importing.files.open_file import open_source
from framematch.catalog.importing.files.records import Defect, Fields, Record
from framematch.catalog.importing.files.source_file import FindHeader, HeaderPlace, ReadOptions, SourceFile
from framematch.core.errors import CatalogError

SHORT = "id,name,image\n"


def first_row(rows: Sequence[Sequence[str]]) -> HeaderPlace:
    """The header is the first row, whatever it names."""
    return HeaderPlace(0, tuple(rows[0]))


def row_with_id(rows: Sequence[Sequence[str]]) -> HeaderPlace:
    """The header is the row that names an id."""
    for index, row in enumerate(rows):
        if "id" in [cell.strip().lower().removeprefix("\ufeff") for cell in row]:
            return HeaderPlace(index, tuple(row))
    raise CatalogError("the header has no column 'id'")


@contextmanager
def opened(
    file: str | bytes, encoding: str | None = None, find_header: FindHeader = row_with_id
) -> Iterator[SourceFile]:
    """The open file, which is a real one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.txt")
        path.write_bytes(file.encode() if isinstance(file, str) else file)
        with open_source(path, ReadOptions(encoding), find_header) as source:
            yield source


def records(file: str | bytes, encoding: str | None = None) -> list[Record]:
    """All records of a file."""
    with opened(file, encoding) as source:
        return list(source.records)


def fields(file: str | bytes, encoding: str | None = None) -> list[Fields]:
    """The fields of a file all of whose records are good."""
    found = [record.content for record in records(file, encoding) if record.content is not None]
    assert not [content for content in found if isinstance(content, Defect)], found
    return [content for content in found if isinstance(content, dict)]


def outline(file: str | bytes, encoding: str | None = None) -> list[str]:
    """What each record is: `1` a row with this id, `?4-9` a defect with its lines, `_4` blank lines."""
    return [_mark(record) for record in records(file, encoding)]


def _mark(record: Record) -> str:
    if isinstance(record.content, dict):
        return str(record.content.get("id", "no id"))
    lines = str(record.line) if record.line == record.last_line else f"{record.line}-{record.last_line}"
    return f"{'_' if record.content is None else '?'}{lines}"
