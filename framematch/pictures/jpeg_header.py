"""Reads the segments in front of a JPEG's first scan: its size is known before anything is decoded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from framematch.core.errors import PictureError

START = b"\xff\xd8"
SCAN = 0xDA
RESTART_INTERVAL = 0xDD
EXIF, PROFILE, ADOBE = 0xE1, 0xE2, 0xEE
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # a marker for each process; these three are tables
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_END = 0xD9
_END_OF_IMAGE = b"\xff\xd9"
# Fill bytes may stand in front of a marker; FF 00 is no marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SUPPORTED_BITS = 8
_SUPPORTED_COMPONENTS = (1, 3, 4)


@dataclass(frozen=True)
class Segment:
    """A marker and its content, which starts at `start` and ends before `end`."""

    marker: int
    start: int
    end: int


@dataclass(frozen=True)
class JpegHeader:
    """What the header says. `sampling` has a pair for each component: horizontal and vertical factor."""

    width: int
    height: int
    sampling: tuple[tuple[int, int], ...]


def read_header(data: bytes) -> JpegHeader:
    """Read the header.

    Raises:
        PictureError: `not_a_jpeg`.
    """
    if not data.startswith(START):
        raise PictureError("not_a_jpeg", "is not a JPEG")
    for segment in segments(data):
        if segment.marker in _SIZES:
            return _parse_size(data[segment.start : segment.end])
    raise PictureError("not_a_jpeg", "has no JPEG header")


def segments(data: bytes) -> Iterator[Segment]:
    """The segments up to that of the first scan, and including it."""
    at = len(START)
    while found := _MARKER.search(data, at):
        marker, start = found[1][0], found.end()
        if marker == _END:
            return
        end = start if marker in _WITHOUT_LENGTH else start + int.from_bytes(data[start : start + 2])
        if end > len(data):
            return
        yield Segment(marker, min(start + 2, end), end)
        if marker == SCAN:
            return
        at = max(start, end)


def find_end(data: bytes) -> int | None:
    """Where the end marker is; None if there is none. Those of a thumbnail in the header do not count."""
    for segment in segments(data):
        if segment.marker == SCAN and (at := data.find(_END_OF_IMAGE, segment.end)) >= 0:
            return at
    return None


def _parse_size(content: bytes) -> JpegHeader:
    bits, height, width = content[:1], int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    number = content[5] if len(content) > 5 else 0  # noqa: PLR2004  # where the number of components is
    factors = content[7 : 6 + 3 * number : 3]
    if not width or not height or number not in _SUPPORTED_COMPONENTS or len(factors) != number:
        raise PictureError("not_a_jpeg", "has no valid JPEG header")
    if bits[0] != _SUPPORTED_BITS:
        raise PictureError("not_a_jpeg", f"has {bits[0]} bits for each colour, and only JPEGs with 8 can be read")
    return JpegHeader(width, height, tuple((factor >> 4, factor & 0xF) for factor in factors))
