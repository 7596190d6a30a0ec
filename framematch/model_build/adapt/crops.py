"""Makes varied copies of a photo, from which the covariance within products is estimated: other crops and light."""

import cv2
import numpy as np
import numpy.typing as npt

from framematch.core.arrays import Pixels

_Levels = npt.NDArray[np.float32]

_AREA = (0.35, 1.0)  # share of the photo's area in a crop
_ASPECT = 4 / 3
_BRIGHTNESS, _CHANNEL, _CONTRAST, _SATURATION = 0.3, 0.1, 0.25, 0.25  # largest relative change


def vary(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """A random crop of `photo`, RGB [h, w, 3], perhaps mirrored, in other light: RGB [at most h, at most w, 3]."""
    return relit(_cropped(photo, rng), rng)


def relit(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """`picture` with other brightness, white balance, contrast and saturation."""
    levels = picture.astype(np.float32)
    levels *= (_factor(_BRIGHTNESS, rng) * rng.uniform(1 - _CHANNEL, 1 + _CHANNEL, 3)).astype(np.float32)
    levels = _spread(levels, levels.mean(keepdims=True), _factor(_CONTRAST, rng))
    levels = _spread(levels, levels.mean(axis=2, keepdims=True), _factor(_SATURATION, rng))
    return np.clip(levels, 0, 255).astype(np.uint8)


def shrunk(photo: Pixels, side_px: int) -> Pixels:
    """`photo` with a shortest side of at most `side_px`; what is larger costs time and adds nothing."""
    scale = side_px / min(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cropped(photo: Pixels, rng: np.random.Generator) -> Pixels:
    full_height, full_width = photo.shape[:2]
    area, aspect = rng.uniform(*_AREA), _ASPECT ** rng.uniform(-1, 1)
    height = max(1, min(full_height, int(full_height * np.sqrt(area * aspect))))
    width = max(1, min(full_width, int(full_width * np.sqrt(area / aspect))))
    top, left = rng.integers(full_height - height + 1), rng.integers(full_width - width + 1)
    kept = photo[top : top + height, left : left + width]
    return kept[:, ::-1] if rng.integers(2) else kept


def _spread(levels: _Levels, middle: _Levels, factor: float) -> _Levels:
    return np.asarray(middle + (levels - middle) * factor, np.float32)


def _factor(largest: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(1 - largest, 1 + largest))
