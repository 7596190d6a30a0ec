"""Opens a catalogue file: recognises its format by what it contains, whatever its name."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Literal

from framematch.catalog.importing.files import html_blocks, json_document
from framematch.catalog.importing.files.byte_source import ByteSource, open_bytes
from framematch.catalog.importing.files.csv_rows import CsvRows
from framematch.catalog.importing.files.csv_table import read_table
from framematch.catalog.importing.files.encodings import Encoding, find_encoding
from framematch.catalog.importing.files.json_lines import json_line_records
from framematch.catalog.importing.files.json_text import JsonText
from framematch.catalog.importing.files.lines_of_text import lines_of, pieces_of
from framematch.catalog.importing.files.parquet_records import open_parquet
from framematch.catalog.importing.files.records import Defect, Lines, Record, check_complete
from framematch.catalog.importing.files.source_file import FindHeader, Format, Progress, ReadOptions, SourceFile
from framematch.catalog.importing.files.xml_records import xml_records
from framematch.catalog.importing.files.xml_shape import xml_shape
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError

SAVE_AS = "Save it as CSV (UTF-8) with a header line, or as JSON lines"
_SIGNATURES = (
    (b"PK\x03\x04", "an Excel workbook (xlsx) or a ZIP archive", SAVE_AS),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (xls)", SAVE_AS),
    (b"\x1f\x8b", "packed with gzip twice", "Unpack it: gunzip FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it: unzstd FILE"),
    (b"BZh", "compressed with bzip2", "Unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ\0", "compressed with xz", "Unpack it: unxz FILE"),
    (b"%PDF", "a PDF", SAVE_AS),
    (b"SQLite format 3\0", "an SQLite database", SAVE_AS),
)
_SIGNATURE_BYTES = 16
_START_BYTES = 4096
_FIRST_RECORDS = 100  # whose keys are the columns of a file without a header


_PARQUET = b"PAR1"
_DECLARED = re.compile(rb"""^\s*(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")
_PAGE_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)


@contextmanager
def open_source(path: Path | IO[bytes], options: ReadOptions, find_header: FindHeader) -> Iterator[SourceFile]:
    """Open a file of records, whose format is told by its content.

    CSV, JSON lines, a JSON array or an object with a list, JSON-LD (also in an HTML page), RSS, Atom, other XML, and
    Parquet. Text may be packed with gzip. It is read once before its records are, to find its encoding.
    Memory is bounded by a few of the longest records, 8 M characters of JSON, and an HTML page as a whole.

    Raises:
        UsageError: the file cannot be read, or the stated encoding is unknown.
        CatalogError: the file has no records of a known format.
        PrerequisiteError: it is Parquet, whose package is not installed.
    """
    with open_bytes(path) as source:
        if source.start(len(_PARQUET)) == _PARQUET:
            yield open_parquet(source)
            return
        _check_signature(source)
        encoding = find_encoding(source, options.encoding, _declared(source))
        _check_no_nul(source, encoding)
        yield _Text(source, encoding).opened(find_header)


def _declared(source: ByteSource) -> str | None:
    start = source.start(_START_BYTES)
    found = _DECLARED.match(start) or (
        _PAGE_CHARSET.search(start) if html_blocks.is_html(start.decode("latin-1")) else None
    )
    return found[1].decode("ascii") if found else None


def _check_signature(source: ByteSource) -> None:
    start = source.start(_SIGNATURE_BYTES)
    for signature, what, hint in _SIGNATURES:
        if start.startswith(signature):
            raise CatalogError(f"the file is {what}", hint=hint)


def _check_no_nul(source: ByteSource, encoding: Encoding) -> None:
    if encoding.name.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        return
    first_line = source.start(_START_BYTES).partition(b"\n")[0]
    if b"\0" not in first_line:
        return
    if first_line[1::2].count(0) > len(first_line) // 4 or first_line[::2].count(0) > len(first_line) // 4:
        little = first_line[1:2] == b"\0"
        raise CatalogError(
            "the file seems to be UTF-16 without a mark", hint=f"State it: --encoding utf-16-{'le' if little else 'be'}"
        )
    raise CatalogError("the file is no text", hint=SAVE_AS)


@dataclass(frozen=True)
class _Text:
    """A text file of a known encoding."""

    source: ByteSource
    encoding: Encoding

    def opened(self, find_header: FindHeader) -> SourceFile:
        first = self._first_lines()
        if not first:
            raise CatalogError("the file is empty", hint=SAVE_AS)
        start = first[0].lstrip()
        if start.startswith("<"):
            return self._markup()
        if start.startswith(("{", "[")):
            return self._json_lines() if json_document.is_lines(first) else self._json()
        return self._csv(find_header)

    def _csv(self, find_header: FindHeader) -> SourceFile:
        lines = self._lines()
        table = read_table(lines, find_header)
        return SourceFile(
            format="CSV",
            encoding=self.encoding.name,
            delimiter=table.delimiter,
            columns=table.columns,
            notices=(*self.encoding.notices, *table.notices),
            records=self._cut_marked(check_complete(CsvRows(lines, table, self.encoding.name).records(), lines)),
            repeated_columns=table.repeated,
            progress=self._progress(),
        )

    def _json_lines(self) -> SourceFile:
        lines = self._lines()
        return self._without_header("JSON lines", check_complete(json_line_records(lines, self.encoding.name), lines))

    def _json(self) -> SourceFile:
        start = json_document.first_text(self._pieces())
        path = json_document.list_path(start)
        text = JsonText(self._pieces())
        if json_document.is_linked_data(start):
            whole = len(start) < json_document.START_CHARACTERS
            return self._numbered("JSON-LD", json_document.linked_records(text, path, whole=whole))
        records = json_document.json_records(text, path)
        first = list(islice(records, _FIRST_RECORDS))
        if json_document.have_own_lines(first):
            return self._without_header("JSON", chain(first, records))
        return self._numbered("JSON", chain(first, records))

    def _markup(self) -> SourceFile:
        start = next(self._pieces())
        if html_blocks.is_html(start):
            page = list(html_blocks.page_records(self._pieces(), self.encoding.name))
            if not page:
                raise CatalogError("the page has no product in JSON-LD", hint="Export the catalogue as a file")
            return self._numbered("JSON-LD", page)
        shape = xml_shape(self._pieces)
        records = xml_records(self._pieces(), shape, self.encoding.name)
        first = list(islice(records, _FIRST_RECORDS))
        if json_document.have_own_lines(first):
            return self._without_header(shape.format, chain(first, records))
        return self._numbered(shape.format, chain(first, records))

    def _first_lines(self) -> list[str]:
        """The first two lines that are not blank."""
        return list(islice((line for line in lines_of(self.source.opened(), self.encoding) if line.strip()), 2))

    def _lines(self) -> Lines:
        """The lines from the first one on that is not blank."""
        lines = Lines(lines_of(self.source.opened(), self.encoding))
        while (line := lines.take()) is not None and not line.strip():
            pass
        lines.give_back([line] if line is not None else [])
        return lines

    def _pieces(self) -> Iterator[str]:
        return pieces_of(self.source.opened(), self.encoding)

    def _progress(self) -> Progress:
        return Progress(lambda: self.source.position_bytes, self.source.size_bytes)

    def _numbered(self, kind: Format, records: Iterable[Record]) -> SourceFile:
        numbered = (Record(number, number, record.content) for number, record in enumerate(records, 1))
        return self._without_header(kind, numbered, by="record")

    def _without_header(
        self, kind: Format, records: Iterator[Record], by: Literal["line", "record"] = "line"
    ) -> SourceFile:
        first = list(islice(records, _FIRST_RECORDS))
        columns = dict.fromkeys(key for record in first if isinstance(record.content, dict) for key in record.content)
        return SourceFile(
            format=kind,
            encoding=self.encoding.name,
            delimiter=None,
            columns=tuple(columns),
            notices=self.encoding.notices,
            records=self._cut_marked(chain(first, records)),
            numbered_by=by,
            progress=self._progress(),
        )

    def _cut_marked(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records; if the file ended in the middle, the last one is a defect, as its end may be missing."""
        last: Record | None = None
        for record in records:
            if last is not None:
                yield last
            last = record
        if self.source.cut is not None and not _is_cut(last):
            at = (last.line, last.last_line) if last else (1, 1)
            last = Record(*at, Defect(ProblemKind.CUT, f"the file ends in the middle: {self.source.cut}"))
        if last is not None:
            yield last


def _is_cut(record: Record | None) -> bool:
    return record is not None and isinstance(record.content, Defect) and record.content.kind is ProblemKind.CUT
