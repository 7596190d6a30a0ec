"""Opens a catalogue file: recognises its format by what it contains, whatever its name."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from framematch.catalog.importing.files.byte_source import ByteSource, open_bytes
from framematch.catalog.importing.files.csv_rows import CsvRows
from framematch.catalog.importing.files.csv_table import read_table
from framematch.catalog.importing.files.encodings import Encoding, find_encoding
from framematch.catalog.importing.files.json_lines import json_line_records
from framematch.catalog.importing.files.lines_of_text import lines_of
from framematch.catalog.importing.files.records import Defect, Lines, Record, check_complete
from framematch.catalog.importing.files.source_file import FindHeader, Format, Progress, ReadOptions, SourceFile
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


@contextmanager
def open_source(path: Path, options: ReadOptions, find_header: FindHeader) -> Iterator[SourceFile]:
    """Open a file of records: CSV, JSON lines. All text formats may be packed with gzip.

    The file is read once before its records are, to find its encoding. Memory is bounded by a few of the longest
    records.

    Raises:
        UsageError: the file cannot be read, or the stated encoding is unknown.
        CatalogError: the file has no records of a known format.
    """
    with open_bytes(path) as source:
        _check_signature(source)
        encoding = find_encoding(source, options.encoding)
        _check_no_nul(source, encoding)
        with source.opened() as stream:
            yield _line_file(source, Lines(lines_of(stream, encoding)), encoding, find_header)


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


def _line_file(source: ByteSource, lines: Lines, encoding: Encoding, find_header: FindHeader) -> SourceFile:
    while (line := lines.take()) is not None and not line.strip():
        pass
    if line is None:
        raise CatalogError("the file is empty", hint=SAVE_AS)
    lines.give_back([line])
    progress = Progress(lambda: source.position_bytes, source.size_bytes)
    if line.lstrip().startswith("{"):
        records = check_complete(json_line_records(lines, encoding.name), lines)
        return _without_header("JSON lines", source, encoding, records, progress)
    table = read_table(lines, find_header)
    records = check_complete(CsvRows(lines, table, encoding.name).records(), lines)
    return SourceFile(
        format="CSV",
        encoding=encoding.name,
        delimiter=table.delimiter,
        columns=table.columns,
        notices=(*encoding.notices, *table.notices),
        records=_cut_marked(records, source),
        repeated_columns=table.repeated,
        progress=progress,
    )


def _without_header(
    kind: Format, source: ByteSource, encoding: Encoding, records: Iterator[Record], progress: Progress
) -> SourceFile:
    first = list(islice(records, _FIRST_RECORDS))
    columns = dict.fromkeys(key for record in first if isinstance(record.content, dict) for key in record.content)
    return SourceFile(
        format=kind,
        encoding=encoding.name,
        delimiter=None,
        columns=tuple(columns),
        notices=encoding.notices,
        records=_cut_marked(chain(first, records), source),
        progress=progress,
    )


def _cut_marked(records: Iterable[Record], source: ByteSource) -> Iterator[Record]:
    """The records; if the file ended in the middle, the last one is a defect, as its end may be missing."""
    last: Record | None = None
    for record in records:
        if last is not None:
            yield last
        last = record
    if source.cut is not None:
        at = (last.line, last.last_line) if last else (1, 1)
        last = Record(*at, Defect(ProblemKind.CUT, f"the file ends in the middle: {source.cut}"))
    if last is not None:
        yield last
