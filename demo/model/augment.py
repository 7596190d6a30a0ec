"""Draws training pictures: random crops of photos, and iconic pictures on white or on a shelf.

This is geometry only, in NumPy and OpenCV on the CPU. Colours, erasing and mixing are in the training step
(`colour.py`).
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from demo.model.grocery import Photos, Product, cut_out
from framematch.core.arrays import Pixels

_ICONIC_SHARE = 1 / 6
_ON_SHELF = 0.6  # share of the iconic pictures; the others stay on white, as in the catalogue
_AREA = (0.25, 1.0)  # share of a photo's area in a crop
_ASPECT = 4 / 3
_ANGLE_DEGREES = 25.0
_ICONIC_SCALE = (0.55, 1.15)  # side of the cut-out, relative to the picture's side
_ICONIC_SHIFT = 0.15
_BLURRED = 0.15
# Larger crops come from a half-size copy, because an affine transform does not smooth and would skip pixels.
_MAX_SHRINK = 1.8


class PictureSource:
    """Pictures by step number. A step always gives the same pictures, so a resumed run equals an uninterrupted one."""

    def __init__(self, photos: Photos, products: Sequence[Product], *, seed: int) -> None:
        self._photos = photos
        half = photos.pictures.shape[1] // 2
        self._half = np.stack([cv2.resize(p, (half, half), interpolation=cv2.INTER_AREA) for p in photos.pictures])
        self._iconic = [product.iconic for product in products]
        self._alpha = [cut_out(iconic) for iconic in self._iconic]
        self._seed = seed
        # Products with many photos are drawn more often, but less so than their photos are.
        counts = np.bincount(photos.products, minlength=len(products))
        weight = counts[photos.products] ** -0.5
        self._weight = weight / weight.sum()

    def __call__(self, step: int, *, size: int, side_px: int) -> tuple[Pixels, npt.NDArray[np.int32]]:
        """`size` pictures, RGB [size, side_px, side_px, 3], and the row of each one's product [size]."""
        rng = np.random.default_rng([self._seed, step])
        iconic = round(size * _ICONIC_SHARE)
        chosen = rng.choice(len(self._photos.products), size - iconic, p=self._weight)
        pictures = [self._photo(int(index), side_px, rng) for index in chosen]
        drawn = rng.integers(0, len(self._iconic), iconic)
        pictures += [self._iconic_picture(int(product), side_px, rng) for product in drawn]
        products = np.concatenate([self._photos.products[chosen], drawn]).astype(np.int32)
        return np.stack(pictures), products

    def _photo(self, index: int, side_px: int, rng: np.random.Generator) -> Pixels:
        full = self._photos.pictures[index]
        area, aspect = rng.uniform(*_AREA), _ASPECT ** rng.uniform(-1, 1)
        crop = full.shape[0] * np.sqrt(area)
        source, zoom = (full, 1.0) if crop <= _MAX_SHRINK * side_px else (self._half[index], 0.5)
        width, height = (min(full.shape[0], crop * aspect**power) * zoom for power in (0.5, -0.5))
        slack_x, slack_y = source.shape[1] - width, source.shape[0] - height
        centre = (width / 2 + rng.uniform(0, 1) * slack_x, height / 2 + rng.uniform(0, 1) * slack_y)
        matrix = _crop_matrix(centre, (width / side_px, height / side_px), side_px, rng)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cropped = cv2.warpAffine(source, matrix, (side_px, side_px), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return _maybe_blurred(np.asarray(cropped, np.uint8), rng)

    def _iconic_picture(self, product: int, side_px: int, rng: np.random.Generator) -> Pixels:
        iconic, alpha = self._iconic[product], self._alpha[product]
        step = iconic.shape[0] / (side_px * rng.uniform(*_ICONIC_SCALE))
        aspect = _ASPECT ** (0.5 * rng.uniform(-1, 1))
        middle = iconic.shape[0] * (0.5 + rng.uniform(-_ICONIC_SHIFT, _ICONIC_SHIFT, 2))
        matrix = _crop_matrix((middle[0], middle[1]), (step * aspect, step / aspect), side_px, rng)
        # There is no affine form of INTER_AREA, so a blur as wide as the step avoids aliasing of fine print.
        if step > _MAX_SHRINK:
            iconic = np.asarray(cv2.GaussianBlur(iconic, (0, 0), step / 3), np.uint8)
        size, flags = (side_px, side_px), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(iconic, matrix, size, flags=flags, borderValue=(255, 255, 255)).astype(np.float32)
        if rng.uniform() < _ON_SHELF:
            share = cv2.warpAffine(alpha, matrix, size, flags=flags, borderValue=0)[:, :, np.newaxis]
            shelf = self._photo(int(rng.integers(len(self._photos.products))), side_px, rng).astype(np.float32)
            picture = picture * share + shelf * (1 - share)
        return _maybe_blurred(np.clip(np.round(picture), 0, 255).astype(np.uint8), rng)


def _crop_matrix(
    centre: tuple[float, float], step: tuple[float, float], side_px: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The matrix [2, 3] from the crop's pixels to the source's: rotated by up to 25 degrees, mirrored at random."""
    angle = np.deg2rad(rng.uniform(-_ANGLE_DEGREES, _ANGLE_DEGREES))
    mirror = 1.0 if rng.uniform() < 0.5 else -1.0  # noqa: PLR2004  # half of the time
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.diag([step[0] * mirror, step[1]])
    offset = np.array(centre) - linear @ np.array([(side_px - 1) / 2] * 2)
    return np.column_stack([linear, offset])


def _maybe_blurred(picture: Pixels, rng: np.random.Generator) -> Pixels:
    if rng.uniform() >= _BLURRED:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)
