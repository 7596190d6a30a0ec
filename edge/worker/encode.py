"""Scales a picture down and encodes it as JPEG."""

import cv2
import numpy as np

from framematch.core.arrays import Pixels


def scale_down(picture: Pixels, max_side: int) -> Pixels:
    """`picture`, [height, width, 3] BGR, with its longer side at most `max_side` pixels; a small one unchanged."""
    return scaled(picture, max_side / max(1, *picture.shape[:2]))


def scaled(picture: Pixels, scale: float) -> Pixels:
    """`picture` reduced by a factor; with a factor of 1 or more it is returned unchanged.

    Pixels are averaged (INTER_AREA), so that a strong reduction shows no aliasing.
    """
    if scale >= 1:
        return picture
    height, width = picture.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(picture: Pixels, *, quality: int) -> bytes:
    """Encode `picture`, [height, width, 3] BGR, as a JPEG.

    Raises:
        ValueError: it has no pixels, or more on a side than a JPEG can have.
    """
    try:
        encoded, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ValueError(f"a picture of shape {picture.shape} cannot be encoded") from error
    if not encoded:
        raise ValueError(f"a picture of shape {picture.shape} cannot be encoded")
    return jpeg.tobytes()
