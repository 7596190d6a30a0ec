"""A record's bytes to RGB regions; whatever is wrong with them is a BadFrameError with a stable reason."""

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL.JpegImagePlugin import JpegImageFile

from framematch.core.errors import BadFrameError
from framematch.core.frames import Region

Pixels = npt.NDArray[np.uint8]

_END_OF_IMAGE = b"\xff\xd9"
_TAIL_BYTES = 64  # some cameras pad the end of the file


def decode_jpeg(data: bytes, *, max_pixels: int) -> Pixels:
    """The picture as RGB, uint8 [height, width, 3].

    The header is read first, so that a picture which would need too much memory is never decoded. An orientation tag
    is ignored: regions are in pixels of the picture as it is encoded.

    Raises:
        BadFrameError: `not_a_jpeg`, `too_many_pixels`, `truncated` or `undecodable`.
    """
    try:
        # This reads the header alone; Image.open would add a limit of its own, which is a global of Pillow's.
        with JpegImageFile(io.BytesIO(data)) as header:
            width, height = header.size
    except (OSError, SyntaxError, ValueError) as error:
        raise BadFrameError("not_a_jpeg", f"no JPEG header in {len(data)} bytes") from error
    if width * height > max_pixels:
        raise BadFrameError("too_many_pixels", f"{width}x{height} is more than the {max_pixels} pixels allowed")
    # OpenCV fills the rest of a cut picture with grey and says nothing.
    if _END_OF_IMAGE not in data[-_TAIL_BYTES:]:
        raise BadFrameError("truncated", f"the JPEG of {len(data)} bytes ends before its end marker")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise BadFrameError("undecodable", f"the JPEG of {len(data)} bytes does not decode: {error.err}") from error
    if picture is None:
        raise BadFrameError("undecodable", f"the JPEG of {len(data)} bytes does not decode")
    return picture.astype(np.uint8, copy=False)


def cut_regions(picture: Pixels, regions: tuple[Region, ...]) -> list[tuple[Region, Pixels]]:
    """Each region with its pixels (views of `picture`, [h, w, 3]); without regions the whole picture is one.

    A region that reaches over the edge is clipped, and the clipped box is returned.

    Raises:
        BadFrameError: `region`, when a box lies outside the picture.
    """
    height, width = picture.shape[:2]
    found = []
    for x, y, box_width, box_height in regions or ((0, 0, width, height),):
        right, bottom = min(x + box_width, width), min(y + box_height, height)
        if x >= right or y >= bottom:
            raise BadFrameError("region", f"the box {[x, y, box_width, box_height]} is outside {width}x{height}")
        found.append(((x, y, right - x, bottom - y), picture[y:bottom, x:right]))
    return found
