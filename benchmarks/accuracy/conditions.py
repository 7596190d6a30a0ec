"""What a camera does to a photo: worse pictures of it, and the frames of a sighting. BGR [h, w, 3] in and out."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

from framematch.core.arrays import Pixels

FRAME_QUALITY = 85
"""The JPEG quality of frames."""
_SHIFT, _ZOOM, _ANGLE_DEG, _LIGHT = 0.08, (0.9, 1.12), 6.0, (0.85, 1.12)
_NOISE = 4.0  # grey levels

Condition = Callable[[Pixels], bytes]
"""Gives the bytes of the JPEG that an edge would send."""


def encode(picture: Pixels, quality: int = FRAME_QUALITY) -> bytes:
    """A JPEG of the picture."""
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _dim(picture: Pixels) -> bytes:
    return encode(_scaled(picture, 0.4))


def _blurred(picture: Pixels) -> bytes:
    return encode(np.asarray(cv2.GaussianBlur(picture, (0, 0), max(picture.shape[:2]) / 100), np.uint8))


def _compressed(picture: Pixels) -> bytes:
    return encode(picture, quality=30)


def _warm(picture: Pixels) -> bytes:
    """A white balance that is off by 15 % in blue and red."""
    return encode(np.clip(picture * np.array([0.85, 1.0, 1.15]), 0, 255).astype(np.uint8))


def _far(picture: Pixels) -> bytes:
    """The product at half the size, with its surroundings repeated."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    margins = (height // 4, height - height // 2 - height // 4, width // 4, width - width // 2 - width // 4)
    return encode(np.asarray(cv2.copyMakeBorder(small, *margins, cv2.BORDER_REFLECT_101), np.uint8))


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {"dim": _dim, "blur": _blurred, "jpeg 30": _compressed, "white balance": _warm, "half size": _far}
)


def frames_of(picture: Pixels, frames: int, seed: int) -> list[bytes]:
    """Frames of a thing that moves a little before a camera: shift, zoom, turn, light and noise differ in each."""
    rng = np.random.default_rng(seed)
    return [_frame(picture, rng) for _ in range(frames)]


def _frame(picture: Pixels, rng: np.random.Generator) -> bytes:
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-_ANGLE_DEG, _ANGLE_DEG), rng.uniform(*_ZOOM))
    matrix[0, 2] += rng.uniform(-_SHIFT, _SHIFT) * width
    matrix[1, 2] += rng.uniform(-_SHIFT, _SHIFT) * height
    moved = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    noise = rng.normal(0, _NOISE, picture.shape)
    return encode(np.clip(moved * rng.uniform(*_LIGHT) + noise, 0, 255).astype(np.uint8))


def _scaled(picture: Pixels, factor: float) -> Pixels:
    return np.asarray(np.clip(picture * factor, 0, 255), np.uint8)
