"""A record's bytes to RGB regions; whatever is wrong with them is a BadFrameError with a stable reason."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL.JpegImagePlugin import JpegImageFile

from framematch.core.errors import BadFrameError
from framematch.core.frames import Region

Pixels = npt.NDArray[np.uint8]

_END_OF_IMAGE = b"\xff\xd9"
_TAIL_BYTES = 64  # some cameras pad the end of the file
_MARKER, _SCAN = 0xFF, 0xDA
_MOST_SCANS = 100  # encoders make ten or so
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True)
class Jpeg:
    """A JPEG of which the header was read: its size in pixels is known, and nothing was decoded."""

    data: bytes
    width: int
    height: int

    def decode(self, reduction: int = 1) -> Pixels:
        """The picture as RGB, uint8 [ceil(height / reduction), ceil(width / reduction), 3]; 1, 2, 4 or 8.

        A reduced picture has the mean of each block of pixels, and costs a fraction: the decoder leaves the fine detail
        out before it makes pixels. An orientation tag is ignored: regions are in pixels of the encoded picture.

        Raises:
            BadFrameError: `truncated` or `undecodable`.
        """
        # OpenCV fills the rest of a cut picture with grey and says nothing.
        if _END_OF_IMAGE not in self.data[-_TAIL_BYTES:]:
            raise BadFrameError("truncated", f"the JPEG of {len(self.data)} bytes ends before its end marker")
        encoded = np.frombuffer(self.data, dtype=np.uint8)
        # Each scan goes over the whole picture, and may take a few bytes of the file: hours for a record full of them.
        if (scans := _count_scans(encoded)) > _MOST_SCANS:
            raise BadFrameError("undecodable", f"the JPEG has {scans} scans, more than the {_MOST_SCANS} allowed")
        flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            picture = cv2.imdecode(encoded, flags)
        except cv2.error as error:
            raise BadFrameError("undecodable", f"the JPEG does not decode: {error.err}") from error
        if picture is None:
            raise BadFrameError("undecodable", f"the JPEG of {len(self.data)} bytes does not decode")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _count_scans(encoded: Pixels) -> int:
    """How often the marker that begins a scan is in a JPEG; no coefficient looks like it."""
    return int(
        np.count_nonzero((encoded[:-1] == _MARKER) & (encoded[1:] == _SCAN))
    )  # bytes.count takes 3 times as long


def read_jpeg(data: bytes, *, max_pixels: int) -> Jpeg:
    """Read the header alone, so that a picture which would need too much memory is never decoded.

    Raises:
        BadFrameError: `not_a_jpeg` or `too_many_pixels`.
    """
    try:
        # Image.open would add a limit of its own, which is a global of Pillow's.
        with JpegImageFile(io.BytesIO(data)) as header:
            width, height = header.size
    except (OSError, SyntaxError, ValueError) as error:
        raise BadFrameError("not_a_jpeg", f"no JPEG header in {len(data)} bytes") from error
    if width * height > max_pixels:
        raise BadFrameError("too_many_pixels", f"{width}x{height} is more than the {max_pixels} pixels allowed")
    return Jpeg(data, width, height)


def clip_regions(width: int, height: int, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """The regions of a picture, each clipped to it; without regions the whole picture is one.

    Raises:
        BadFrameError: `region`, when a box lies outside the picture.
    """
    found = []
    for x, y, box_width, box_height in regions or ((0, 0, width, height),):
        right, bottom = min(x + box_width, width), min(y + box_height, height)
        if x >= right or y >= bottom:
            raise BadFrameError("region", f"the box {[x, y, box_width, box_height]} is outside {width}x{height}")
        found.append((x, y, right - x, bottom - y))
    return tuple(found)


def cut(picture: Pixels, region: Region, reduction: int = 1) -> Pixels:
    """The pixels of a region of the whole picture, [h, w, 3]: a view of `picture`, which may be reduced."""
    x, y, width, height = region
    right, bottom = -(-(x + width) // reduction), -(-(y + height) // reduction)
    return picture[y // reduction : bottom, x // reduction : right]
