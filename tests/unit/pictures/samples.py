"""Pictures to encode, and what cameras, buffers and bad disks do to their bytes."""

import io
import struct
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from framematch.core.arrays import Pixels

Colour: TypeAlias = tuple[float, float, float]
Primaries: TypeAlias = tuple[Colour, Colour, Colour]

START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
ORIENTATION = 0x0112
DISPLAY_P3_PRIMARIES: Primaries = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
# What a camera stores that was held or mirrored in this way.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(width: int = 96, height: int = 64) -> Pixels:
    """Smooth colours with some noise, unlike in each corner, RGB."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.stack(
        [128 + 100 * np.sin(columns / 17), 128 + 90 * np.cos(rows / 11), 255 * columns / width * rows / height], -1
    )
    return np.clip(waves + np.random.default_rng(3).normal(0, 6, waves.shape), 0, 255).astype(np.uint8)


def quarters(width: int = 64, height: int = 48) -> Pixels:
    """Red, green, blue and yellow, one in each corner, RGB."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255, 0, 0
    picture[: height // 2, width // 2 :] = 0, 255, 0
    picture[height // 2 :, : width // 2] = 0, 0, 255
    picture[height // 2 :, width // 2 :] = 255, 255, 0
    return picture


def encoded(picture: Pixels | Image.Image, kind: str, mode: str | None = None, **options: Any) -> bytes:
    """The bytes of a file of this kind."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(picture: Pixels | None = None, **options: Any) -> bytes:
    """A JPEG, of the photo if nothing else is given."""
    return encoded(photo() if picture is None else picture, "JPEG", **{"quality": 90, **options})


def with_orientation(picture: Pixels, orientation: int, kind: str, **options: Any) -> bytes:
    """A file that shows `picture` when its orientation tag is obeyed."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(picture)
    if orientation in STORED_AS:
        stored = stored.transpose(STORED_AS[orientation])
    return encoded(stored, kind, exif=exif, **options)


def scan_start(data: bytes) -> int:
    """Where the first scan's entropy-coded data starts."""
    at = data.index(START_OF_SCAN)
    return at + 2 + int.from_bytes(data[at + 2 : at + 4])


def without_segments(data: bytes, marker: int) -> bytes:
    """A JPEG without the segments of this marker in front of its scan."""
    kept, at = data[:2], 2
    while data[at + 1] != START_OF_SCAN[1]:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        kept += b"" if data[at + 1] == marker else data[at:end]
        at = end
    return kept + data[at:]


def inserted(data: bytes, at: int, extra: bytes) -> bytes:
    """`data` with `extra` in front of position `at`."""
    return data[:at] + extra + data[at:]


def segment(marker: int, content: bytes) -> bytes:
    """A JPEG's segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def colour_profile(red: Colour, green: Colour, blue: Colour, gamma: float) -> bytes:
    """An ICC profile with these primaries (XYZ, D50)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    return _profile(
        b"RGB ",
        {
            b"rXYZ": _xyz(*red),
            b"gXYZ": _xyz(*green),
            b"bXYZ": _xyz(*blue),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        },
    )


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of greys."""
    return _profile(b"GRAY", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)})


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    described = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(0.9642, 1.0, 0.8249), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = bytearray(128)
    header[:4] = struct.pack(">I", start + len(body))
    header[8:12] = b"\x02\x40\0\0"
    header[12:24] = b"mntr" + space + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = _xyz(0.9642, 1.0, 0.8249)[8:]
    return bytes(header) + table + body


DISPLAY_P3 = colour_profile(*DISPLAY_P3_PRIMARIES, 2.2)
