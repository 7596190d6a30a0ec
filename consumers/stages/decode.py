"""Decodes a record's bytes to RGB regions; anything wrong with them is a BadFrameError with a stable reason."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from framematch.core.arrays import Pixels
from framematch.core.errors import BadFrameError
from framematch.core.frames import Region

_END_OF_IMAGE = b"\xff\xd9"
_TAIL_BYTES = 64  # some cameras pad the end of the file
_MARKER, _SCAN = 0xFF, 0xDA
_MAX_SCANS = 100  # encoders write about ten
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True)
class Jpeg:
    """A JPEG whose header was read: its size in pixels is known, and nothing is decoded yet."""

    data: bytes
    width: int
    height: int

    def decode(self, reduction: int = 1) -> Pixels:
        """The picture as RGB, uint8 [ceil(height / reduction), ceil(width / reduction), 3]; `reduction` is 1, 2, 4, 8.

        A reduced picture has the mean of each block of pixels at a fraction of the cost: the decoder skips the fine
        detail. An orientation tag is ignored: regions are in pixels of the encoded picture.

        Raises:
            BadFrameError: `truncated` or `undecodable`.
        """
        # OpenCV fills the rest of a truncated picture with grey, without an error.
        if _END_OF_IMAGE not in self.data[-_TAIL_BYTES:]:
            raise BadFrameError("truncated", f"the JPEG of {len(self.data)} bytes ends before its end marker")
        encoded = np.frombuffer(self.data, dtype=np.uint8)
        # Each scan covers the whole picture but may take a few bytes: a record full of them would take hours.
        if (scans := _count_scans(encoded)) > _MAX_SCANS:
            raise BadFrameError("undecodable", f"the JPEG has {scans} scans, more than the {_MAX_SCANS} allowed")
        flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            picture = cv2.imdecode(encoded, flags)
        except cv2.error as error:
            raise BadFrameError("undecodable", f"the JPEG does not decode: {error.err}") from error
        if picture is None:
            raise BadFrameError("undecodable", f"the JPEG of {len(self.data)} bytes does not decode")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _count_scans(encoded: Pixels) -> int:
    """How often a JPEG has the marker that starts a scan; entropy-coded data never contains it."""
    # bytes.count takes 3 times as long.
    return int(np.count_nonzero((encoded[:-1] == _MARKER) & (encoded[1:] == _SCAN)))


def read_jpeg(data: bytes, *, max_pixels: int) -> Jpeg:
    """Read the header alone, so that a picture that needs too much memory is never decoded.

    Raises:
        BadFrameError: `not_a_jpeg` or `too_many_pixels`.
    """
    try:
        # Image.open would add a limit of its own, a global of Pillow.
        with JpegImageFile(io.BytesIO(data)) as header:
            width, height = header.size
    except (OSError, SyntaxError, ValueError) as error:
        raise BadFrameError("not_a_jpeg", f"no JPEG header in {len(data)} bytes") from error
    if width * height > max_pixels:
        raise BadFrameError("too_many_pixels", f"{width}x{height} is more than the {max_pixels} pixels allowed")
    return Jpeg(data, width, height)


def clip_regions(width: int, height: int, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """Clip each region to the picture; without regions the whole picture is the only one.

    Boxes that are then equal are one region: they would be events with one id.

    Raises:
        BadFrameError: `region`, when a box lies outside the picture.
    """
    found = []
    for x, y, box_width, box_height in regions or ((0, 0, width, height),):
        right, bottom = min(x + box_width, width), min(y + box_height, height)
        if x >= right or y >= bottom:
            raise BadFrameError("region", f"the box {[x, y, box_width, box_height]} is outside {width}x{height}")
        found.append((x, y, right - x, bottom - y))
    return tuple(dict.fromkeys(found))


def cut(picture: Pixels, region: Region, reduction: int = 1) -> Pixels:
    """The pixels [h, w, 3] of a region: a view of `picture`, which may be reduced; `region` is in full-size pixels."""
    x, y, width, height = region
    right, bottom = -(-(x + width) // reduction), -(-(y + height) // reduction)
    return picture[y // reduction : bottom, x // reduction : right]
