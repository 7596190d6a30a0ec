"""Finds the JPEGs in a stream of bytes by their own markers, whatever lies between them."""

import re
from dataclasses import dataclass

_START = b"\xff\xd8\xff"
# In the compressed data of a scan, 0xFF is followed by 0, by a restart marker, or by more of 0xFF.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_MARKER_BYTES = _LENGTH_BYTES = 2
_NO_MARKER, _FILL, _PICTURE_START, _PICTURE_END, _SCAN = 0x00, 0xFF, 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class JpegPart:
    """One picture; `jpeg` is None if it broke off, or is no JPEG beyond its first bytes."""

    jpeg: bytes | None


class JpegSplitter:
    """Takes bytes as they arrive, and gives each picture as soon as its last byte has arrived.

    Servers differ in what they write around pictures: boundaries with other names than they announce, lengths that are
    wrong, no part headers at all. A JPEG has an end marker, and its segments have lengths, so that nothing else is
    needed; a picture within another (a thumbnail) is not taken for one.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False
        self._in_scan = False
        self._at = 0  # in the buffer: what was read so far
        self.skipped_bytes = 0  # that are part of no picture

    def __len__(self) -> int:
        """Bytes of a picture that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what has arrived."""
        self._buffer += data

    def next(self) -> JpegPart | None:
        """The next picture, or None until more has arrived."""
        if not self._started and not self._find_start():
            return None
        while True:
            marker = self._next_marker()
            if marker is None:
                return None
            if marker == _PICTURE_END:
                return self._complete(self._at + _MARKER_BYTES)
            if marker in (_NO_MARKER, _PICTURE_START) or not self._skip_segment(marker):
                return self._break_off()

    def _find_start(self) -> bool:
        found = self._buffer.find(_START)
        before = found if found >= 0 else max(0, len(self._buffer) - len(_START) + 1)
        self.skipped_bytes += before
        del self._buffer[:before]
        self._started, self._in_scan, self._at = found >= 0, False, _MARKER_BYTES
        return self._started

    def _next_marker(self) -> int | None:
        """Go to the next marker and return it; `_NO_MARKER` if something else is there, None if it is not here yet."""
        if self._in_scan:
            found = _MARKER.search(self._buffer, self._at)
            self._at = found.start() if found else max(self._at, len(self._buffer) - 1)
            self._in_scan = found is None
        while self._buffer[self._at : self._at + 2] == b"\xff\xff":
            self._at += 1
        arrived = len(self._buffer) - self._at
        if self._in_scan or arrived < _MARKER_BYTES:
            return None
        fill, marker = self._buffer[self._at : self._at + _MARKER_BYTES]
        if arrived < _MARKER_BYTES + _LENGTH_BYTES and marker != _PICTURE_END:
            return None
        return marker if fill == _FILL else _NO_MARKER

    def _skip_segment(self, marker: int) -> bool:
        """Go to what follows the segment; False if it is none."""
        if marker in _WITHOUT_LENGTH:
            self._at += _MARKER_BYTES
            return True
        at = self._at + _MARKER_BYTES
        length = int.from_bytes(self._buffer[at : at + _LENGTH_BYTES], "big")  # counts itself
        self._in_scan = marker == _SCAN
        self._at = at + length
        return length >= _LENGTH_BYTES

    def _complete(self, end: int) -> JpegPart:
        jpeg = bytes(self._buffer[:end])
        self._forget(end)
        return JpegPart(jpeg)

    def _break_off(self) -> JpegPart:
        """Go on where no part of the picture was found; there may be the start of the next one."""
        self._forget(min(self._at, len(self._buffer)))
        return JpegPart(None)

    def _forget(self, size: int) -> None:
        del self._buffer[:size]
        self._started = self._in_scan = False
