"""Varied copies of a catalogue picture: turned, shifted, on white or on a piece of a shop's photo."""

import cv2
import numpy as np

from demo.model.grocery import cut_out
from framematch.core.arrays import Pixels
from framematch.model_build.adapt.crops import relit

_ON_SHELF = 0.6  # share of the copies; the others stay on white, as in the catalogue
_SCALE = (0.6, 1.15)  # the picture's side relative to the copy's
_SHIFT = 0.1
_ANGLE_DEGREES = 15.0
_SHELF_SIDE = (0.4, 1.0)  # of the piece relative to the photo


def vary_iconic(iconic: Pixels, photo: Pixels, side_px: int, rng: np.random.Generator) -> Pixels:
    """A copy of `iconic`, RGB [side, side, 3]; `photo` is the shop's."""
    height, width = iconic.shape[:2]
    scale = rng.uniform(*_SCALE) * side_px / height
    angle = rng.uniform(-_ANGLE_DEGREES, _ANGLE_DEGREES)
    matrix = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale), np.float64)
    matrix[:, 2] += side_px / 2 - np.array([width, height]) / 2 + side_px * rng.uniform(-_SHIFT, _SHIFT, 2)
    size = (side_px, side_px)
    picture = cv2.warpAffine(iconic, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255))
    if rng.uniform() < _ON_SHELF:
        share = cv2.warpAffine(cut_out(iconic), matrix, size, flags=cv2.INTER_LINEAR, borderValue=0)[:, :, np.newaxis]
        picture = picture * share + _piece(photo, side_px, rng) * (1 - share)
    if rng.integers(2):
        picture = picture[:, ::-1]
    return relit(np.asarray(picture, np.uint8), rng)


def _piece(photo: Pixels, side_px: int, rng: np.random.Generator) -> Pixels:
    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(*_SHELF_SIDE))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    piece = photo[top : top + side, left : left + side]
    return np.asarray(cv2.resize(piece, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)
