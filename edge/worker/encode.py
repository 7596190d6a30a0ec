"""Scales a picture down and encodes it as JPEG."""

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def encode_jpeg(picture: Picture, *, max_side: int, quality: int) -> bytes:
    """`picture`, [height, width, 3] BGR, as a JPEG whose longer side is at most `max_side` pixels.

    Pixels are averaged (INTER_AREA), so that a strong reduction shows no aliasing; a small picture keeps its size.
    """
    height, width = picture.shape[:2]
    scale = max_side / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes()
