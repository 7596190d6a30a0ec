"""What cameras write into every JPEG although libjpeg warns of it. All else that it warns of is damage.

| libjpeg's warning                               | what it is                                                        |
|-------------------------------------------------|-------------------------------------------------------------------|
| extraneous bytes before a marker of the header, | between or in segments that hold no pixels: they are left out     |
| an unknown JFIF revision, a bad ICC marker, an  |                                                                   |
| unknown Adobe transform                         |                                                                   |
| extraneous bytes before the end marker          | zeros that fill a buffer are left out; anything else is damage    |
| extraneous bytes before a restart marker        | webcams (Logitech C270, C910) write some in every picture. Taken  |
|                                                 | if all restart markers are there in order: nothing is missing,    |
|                                                 | and damage would not reach past the next marker                   |
"""

import re

from framematch.pictures.jpeg_header import ADOBE, RESTART_INTERVAL, START, JpegHeader, find_end, segments

_HEADER = re.compile(
    r"extraneous bytes before marker 0x(?!d[0-79])|unknown JFIF revision|bad ICC marker|Unknown Adobe color transform"
)
_FILLED = "extraneous bytes before marker 0xd9"
_RESTART = re.compile(r"extraneous bytes before marker 0xd[0-7]")

_STUFFED = b"\xff\x00"  # stands for one byte FF of a scan
_RESTART_MARKER = re.compile(rb"\xff([\xd0-\xd7])")
_START_OF_SCAN = b"\xff\xda"
_APPLICATION = range(0xE0, 0xF0)
_COMMENT = 0xFE
_ADOBE_TRANSFORM = slice(11, 12)
_ADOBE_TRANSFORMS = (b"\x00", b"\x01", b"\x02")
_BLOCK_PX = 8
_RESTART_MARKERS = 8


def without_quirks(data: bytes, warning: str) -> bytes | None:
    """The same picture in fewer bytes, without what `warning` is about; None if that cannot be left out."""
    if _HEADER.search(warning):
        shorter = with_bare_header(data)
    elif _FILLED in warning:
        shorter = _without_filling(data)
    else:
        return None
    return shorter if len(shorter) < len(data) else None


def harmless(data: bytes, header: JpegHeader, warning: str) -> bool:
    """Whether the decoded picture is whole in spite of `warning`."""
    return _RESTART.search(warning) is not None and _restart_markers_are_complete(data, header)


def with_bare_header(data: bytes) -> bytes:
    """Only the segments that say how to decode the pixels."""
    kept = [START]
    end = len(START)
    for segment in segments(data):
        end = segment.end
        content = data[segment.start : end]
        if segment.marker == ADOBE:
            needed = content[_ADOBE_TRANSFORM] in _ADOBE_TRANSFORMS
        else:
            needed = segment.marker not in _APPLICATION and segment.marker != _COMMENT
        if needed:
            kept += [bytes([0xFF, segment.marker]), (len(content) + 2).to_bytes(2), content]
    return b"".join([*kept, data[end:]])


def _without_filling(data: bytes) -> bytes:
    """Without zeros between the last scan and the end marker."""
    end = find_end(data)
    if end is None:
        return data
    scan = data[:end].rstrip(b"\0")
    if scan.endswith(_STUFFED[:1]):
        scan += _STUFFED[1:]
    return scan + data[end:]


def _restart_markers_are_complete(data: bytes, header: JpegHeader) -> bool:
    """Whether a JPEG with one scan has as many restart markers as it needs, in order."""
    found, end = list(segments(data)), find_end(data)
    intervals = [data[one.start : one.end] for one in found if one.marker == RESTART_INTERVAL]
    if not intervals or end is None or data.count(_START_OF_SCAN, found[-1].end, end):
        return False
    units = _coded_units(header)
    interval = int.from_bytes(intervals[-1][:2])
    expected = [number % _RESTART_MARKERS for number in range(-(-units // max(interval, 1)) - 1)]
    markers = _RESTART_MARKER.findall(data, found[-1].end, end)
    return [marker[0] & (_RESTART_MARKERS - 1) for marker in markers] == expected


def _coded_units(header: JpegHeader) -> int:
    """How many units of blocks (MCUs) a scan of all components has."""
    if len(header.sampling) == 1:
        across = down = _BLOCK_PX
    else:
        across = _BLOCK_PX * max(horizontal for horizontal, _ in header.sampling)
        down = _BLOCK_PX * max(vertical for _, vertical in header.sampling)
    return -(-header.width // max(across, 1)) * -(-header.height // max(down, 1))
