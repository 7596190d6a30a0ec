"""Reads a text file of a foreign program line by line: its encoding, its line ends, and lines of any length."""

import codecs
import io
from collections.abc import Iterator

from framematch.core.errors import CatalogError

MAX_LINE_CHARACTERS = 1_000_000
"""A longer line is cut to one character more than this; no product has so much text."""
SAVE_AS = "Save it as CSV (UTF-8) with a header line, or as JSON lines"

# The encodings that a file names itself, longest mark first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SIGNATURES = (
    (b"PK\x03\x04", "an Excel workbook (xlsx) or a ZIP archive", SAVE_AS),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (xls)", SAVE_AS),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it: gunzip FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it: unzstd FILE"),
    (b"BZh", "compressed with bzip2", "Unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ\0", "compressed with xz", "Unpack it: unxz FILE"),
    (b"%PDF", "a PDF", SAVE_AS),
    (b"PAR1", "a Parquet file", SAVE_AS),
    (b"SQLite format 3\0", "an SQLite database", SAVE_AS),
)
_REPLACEMENT, _NO_TEXT = "\ufffd", "\udcff"


def text_lines(file: io.BufferedReader) -> Iterator[str]:
    """The lines of `file` with their ends: LF, CR LF or CR.

    A byte order mark tells the encoding, else it is UTF-8. Bytes that are no text become lone surrogates (see
    `is_text`), so that a bad row does not end the import.

    Raises:
        CatalogError: the file is compressed, or not a text file.
    """
    start = file.peek(1)
    for signature, what, hint in _SIGNATURES:
        if start.startswith(signature):
            raise CatalogError(f"the file is {what}", hint=hint)
    encoding = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "utf-8")
    if encoding.startswith("utf-8") and b"\0" in start.partition(b"\n")[0]:
        raise CatalogError("the file is not UTF-8 text", hint=SAVE_AS)
    # Other encodings than UTF-8 have no way to pass bytes through.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")
    try:
        while line := text.readline(MAX_LINE_CHARACTERS + 1):
            if len(line) > MAX_LINE_CHARACTERS:
                _skip_line(text, line)
            yield line if errors == "surrogateescape" else line.replace(_REPLACEMENT, _NO_TEXT)
    finally:
        if not file.closed:
            text.detach()  # else it would close the file


def is_text(text: str) -> bool:
    """Whether `text` had only valid characters in the file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _skip_line(text: io.TextIOWrapper, piece: str) -> None:
    while piece and not piece.endswith(("\n", "\r")):
        piece = text.readline(MAX_LINE_CHARACTERS)
