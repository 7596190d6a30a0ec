"""Decodes the JPEGs that a camera sends, and notices damage that OpenCV and libav fill with grey."""

import cv2
import numpy as np

from edge.worker.decoded import PixelFrame
from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.jpeg import read_jpeg

# Decoded, a picture has three bytes for each pixel.
MAX_PIXELS = 150_000_000
_SMALLEST = 8  # the reduction that costs the least
# Some cameras leave it out. If the scan is complete, nothing is missing; and a second one does no harm.
_END_OF_IMAGE = b"\xff\xd9"


def decode_jpeg(data: bytes) -> PixelFrame | None:
    """The picture of a JPEG; None if it is damaged. An end marker that is missing is no damage."""
    try:
        return pixel_frame(read_jpeg(data + _END_OF_IMAGE, max_pixels=MAX_PIXELS).decode())
    except PictureError:
        return None


def is_whole(data: bytes) -> bool:
    """Whether a JPEG that another decoder decodes is whole, at about half the cost of decoding it."""
    try:
        read_jpeg(data + _END_OF_IMAGE, max_pixels=MAX_PIXELS).decode(_SMALLEST)
    except PictureError:
        return False
    return True


def pixel_frame(rgb: Pixels) -> PixelFrame:
    """A frame of RGB pixels."""
    return PixelFrame(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8))
