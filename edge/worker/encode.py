"""Scales a picture down and encodes it as JPEG."""

import cv2
import numpy as np

from edge.worker.raw import Picture


def scale_down(picture: Picture, max_side: int) -> Picture:
    """`picture`, [height, width, 3] BGR, with its longer side at most `max_side` pixels; a small one as it is.

    See `scaled`.
    """
    return scaled(picture, max_side / max(1, *picture.shape[:2]))


def scaled(picture: Picture, scale: float) -> Picture:
    """`picture` by a factor; one of 1 and above leaves it as it is.

    Pixels are averaged (INTER_AREA), so that a strong reduction shows no aliasing.
    """
    if scale >= 1:
        return picture
    height, width = picture.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(picture: Picture, *, max_side: int, quality: int) -> bytes:
    """`picture`, [height, width, 3] BGR, as a JPEG whose longer side is at most `max_side` pixels.

    Raises:
        ValueError: it has no pixels, or more on a side than a JPEG can have.
    """
    try:
        encoded, jpeg = cv2.imencode(".jpg", scale_down(picture, max_side), [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ValueError(f"a picture of shape {picture.shape} cannot be encoded") from error
    if not encoded:
        raise ValueError(f"a picture of shape {picture.shape} cannot be encoded")
    return jpeg.tobytes()
