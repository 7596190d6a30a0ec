"""Finds the encoding of a text file: a mark, strict UTF-8 over the whole file, else Windows-1252 with a notice."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from encodings.aliases import aliases
from typing import IO

from framematch.catalog.importing.files.byte_source import ByteSource
from framematch.core.errors import UsageError

# The encodings that a file names itself, longest mark first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
# Python's codecs that are no encodings of text files.
_NOT_OF_FILES = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined"})
_PIECE_BYTES = 1024 * 1024
_ENOUGH_EVIDENCE = 10_000
_INVALID = re.compile("[\udc80-\udcff]")
_VALID = re.compile("[\x80-\ud7ff\ue000-\U0010ffff]")


@dataclass(frozen=True)
class Encoding:
    """How the bytes become text.

    Attributes:
        codec: Python's name of it.
        name: for people, such as `utf-8` or `cp1252`.
        notices: what the user should know, if it was guessed.
    """

    codec: str
    name: str
    notices: tuple[str, ...] = ()

    @property
    def passes_bytes(self) -> bool:
        """Whether bytes that are no text can be passed on; a codec of several bytes a character cannot."""
        return self.name == "utf-8" or self.codec.startswith(("cp125", "iso8859", "latin"))


def find_encoding(source: ByteSource, stated: str | None, declared: str | None = None) -> Encoding:
    """The encoding that the user stated, else of the mark, else what the file declares, else by its bytes.

    A file that is not UTF-8 throughout is Windows-1252, with a notice. But if most of its bytes beyond ASCII are UTF-8,
    it is UTF-8 with damaged rows: read as Windows-1252, all of its good texts would be wrong without a word.

    Raises:
        UsageError: Python does not know the stated encoding.
    """
    start = source.start(4)
    mark = next(((codec, title) for bytes_, codec, title in _MARKS if start.startswith(bytes_)), None)
    if stated is not None:
        return _stated(stated, mark)
    if mark is not None:
        return Encoding(mark[0], mark[0].removesuffix("-sig"))
    if declared is not None and (known := _lookup(declared)):
        return Encoding(known, known)
    return _by_bytes(source)


def known_encoding(stated: str) -> str:
    """Python's name of the encoding that the user stated.

    Raises:
        UsageError: Python does not know it.
    """
    codec = _lookup(stated)
    if codec is None:
        names = sorted({*aliases, *aliases.values()})
        near = [name.replace("_", "-") for name in get_close_matches(stated.lower().replace("-", "_"), names, n=3)]
        hint = f"Did you mean {' or '.join(near)}?" if near else "Name one such as utf-8, cp1252 or utf-16"
        raise UsageError(f"there is no encoding {stated!r}", hint=hint)
    return codec


def _stated(stated: str, mark: tuple[str, str] | None) -> Encoding:
    codec = known_encoding(stated)
    if mark is not None and mark[0].removesuffix("-sig") == codec:
        return Encoding(mark[0], codec)
    if mark is not None and not codec.startswith(mark[0].removesuffix("-sig")):
        return Encoding(codec, codec, (f"The file has the mark of {mark[1]}, but is read as {codec}, as you stated.",))
    return Encoding(codec, codec)


def _lookup(name: str) -> str | None:
    """Python's name of an encoding of text files, None if it is none."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    # The attribute is private, but the only thing that tells rot13 and gzip from encodings of text.
    is_text = getattr(found, "_is_text_encoding", True)
    return found.name if is_text and found.name not in _NOT_OF_FILES else None


def _by_bytes(source: ByteSource) -> Encoding:
    place = _first_invalid(source.opened())
    if place is None:
        return Encoding("utf-8", "utf-8")
    line, byte = place
    valid, invalid = _evidence(source.opened())
    at = f"byte 0x{byte:02x} on line {line}"
    if valid > invalid:
        return Encoding(
            "utf-8", "utf-8", (f"The file is UTF-8, but not throughout: {at} is the first that does not fit.",)
        )
    return Encoding(
        "cp1252",
        "cp1252",
        (f"The file is not UTF-8 ({at}), so it is read as Windows-1252. If texts look wrong, state --encoding.",),
    )


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        yield piece


def _first_invalid(stream: IO[bytes]) -> tuple[int, int] | None:
    """The line and value of the first byte that is not UTF-8; None if all are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    kept = b""  # the beginning of a character
    ended_with_cr = False
    for piece in _pieces(stream):
        text = kept + piece
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as error:
            # `error.object` is what was kept and this piece.
            return line + _line_ends(text[: error.start], after_cr=ended_with_cr), text[error.start]
        kept = bytes(decoder.getstate()[0])
        done = text[: len(text) - len(kept)]
        line += _line_ends(done, after_cr=ended_with_cr)
        ended_with_cr = done.endswith(b"\r") if done else ended_with_cr
    return (line, kept[0]) if kept else None


def _line_ends(data: bytes, *, after_cr: bool) -> int:
    """LF, CR LF and CR; the LF of a CR LF that was cut counts no second time."""
    again = 1 if after_cr and data.startswith(b"\n") else 0
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n") - again


def _evidence(stream: IO[bytes]) -> tuple[int, int]:
    """How many characters beyond ASCII are UTF-8, and how many bytes are not; up to what tells enough."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    valid = invalid = 0
    for piece in _pieces(stream):
        text = decoder.decode(piece)
        valid += len(_VALID.findall(text))
        invalid += len(_INVALID.findall(text))
        if valid + invalid > _ENOUGH_EVIDENCE:
            break
    return valid, invalid + len(decoder.getstate()[0])
