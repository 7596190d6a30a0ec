"""The lines and pieces of a foreign text file: any line end, lines of any length, bytes that are no text."""

import io
from collections.abc import Iterator

from framematch.catalog.importing.files.encodings import Encoding

MAX_LINE_CHARACTERS = 1_000_000
"""A longer line is cut to one character more than this; no product has so much text."""
_PIECE_CHARACTERS = 256 * 1024
_MARK, _REPLACEMENT, _NO_TEXT = "\ufeff", "\ufffd", "\udcff"


def lines_of(stream: io.BufferedReader, encoding: Encoding) -> Iterator[str]:
    """The lines with their ends: LF, CR LF or CR.

    Bytes that are no text become lone surrogates (see `is_text`), so that a bad row does not end the import.
    """
    text = _decoded(stream, encoding)
    first = True
    while line := text.readline(MAX_LINE_CHARACTERS + 1):
        if len(line) > MAX_LINE_CHARACTERS:
            _skip_line(text, line)
        yield _marked(line.removeprefix(_MARK) if first else line, encoding)
        first = False


def pieces_of(stream: io.BufferedReader, encoding: Encoding) -> Iterator[str]:
    """The text in pieces of up to 256 K characters, with lone surrogates as `lines_of` has them."""
    text = _decoded(stream, encoding)
    first = True
    while piece := text.read(_PIECE_CHARACTERS):
        yield _marked(piece.removeprefix(_MARK) if first else piece, encoding)
        first = False


def is_text(text: str) -> bool:
    """Whether `text` had only valid characters in the file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def first_bad_byte(text: str) -> str:
    """`byte 0x81`, the first byte of `text` that is no text, or `bytes` if the encoding does not tell which."""
    bad = next((character for character in text if "\udc80" <= character < _NO_TEXT), None)
    return f"byte 0x{ord(bad) - 0xDC00:02x}" if bad else "bytes"


def _decoded(stream: io.BufferedReader, encoding: Encoding) -> io.TextIOWrapper:
    errors = "surrogateescape" if encoding.passes_bytes else "replace"
    return io.TextIOWrapper(stream, encoding=encoding.codec, errors=errors, newline="")


def _marked(text: str, encoding: Encoding) -> str:
    return text if encoding.passes_bytes else text.replace(_REPLACEMENT, _NO_TEXT)


def _skip_line(text: io.TextIOWrapper, piece: str) -> None:
    while piece and not piece.endswith(("\n", "\r")):
        piece = text.readline(MAX_LINE_CHARACTERS)
