"""Resizes and crops a decoded picture to the uint8 input of `clip_image`.

`exact` is the reference CLIP processor (Pillow, antialiased). `fast` is for streams: OpenCV, with area averaging when
it shrinks more than twice and bilinear interpolation otherwise. Both read only the part of the picture that the crop
keeps. Without `resize_shortest_edge` the whole picture is resized to the crop's size, as SigLIP does.

Measured on one core with a CLIP-shaped model of random weights. Cosine: the lowest of seven pictures against the
transformers library's embeddings. Times: ms for a picture of that size.

| variant                      | cosine   | 256x256 | 640x360 | 1920x1080 | 2400x1800 |
|------------------------------|----------|---------|---------|-----------|-----------|
| exact: bicubic, crop last    | 1.000000 | 0.66    | 1.9     | 11.6      | 25.3      |
| exact: bicubic, crop first   | 1.000000 | 0.73    | 1.2     | 7.2       | 20.6      |
| area to 2x, then exact       | 0.99997  | 0.68    | 1.3     | 6.2       | 9.8       |
| area                         | 0.99962  | 0.34    | 0.54    | 2.7       | 6.5       |
| fast: area above 2x, linear  | 0.99962  | 0.07    | 0.08    | 2.7       | 6.4       |
| area to 2x, then linear      | 0.99962  | 0.08    | 0.09    | 4.2       | 8.5       |
| integer area, then linear    | 0.99949  | 0.07    | 0.08    | 0.40      | 2.9       |
| area to 2x, then cubic       | 0.99858  | 0.09    | 0.11    | 3.9       | 8.1       |
| linear                       | 0.99386  | 0.08    | 0.15    | 0.22      | 0.19      |
| cubic                        | 0.99209  | 0.09    | 0.20    | 0.49      | 0.46      |

The last two alias: they are fast because they read only a few pixels of each block.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import msgspec
import numpy as np
from PIL import Image

from framematch.core.arrays import Pixels
from framematch.vision.manifest import PreprocessSpec

Variant: TypeAlias = Literal["exact", "fast"]

# Raise a variant's whenever the same picture gives other pixels: then older indexes are refused.
_ALGORITHM_VERSIONS: Mapping[Variant, int] = {"exact": 1, "fast": 2}

_PIL_RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_KERNEL_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
_CHANNELS = 3
# Bilinear interpolation reads two pixels along each axis, so up to this factor it skips none.
_LINEAR_MAX_SCALE = 2.0
_REDUCTIONS = (1, 2, 4, 8)  # the reductions that a JPEG decoder offers
_MIN_SCALE_LEFT = 1.2  # source pixels per output pixel after a reduction; 1080 rows have 1.205 left of 4.82


@dataclass(frozen=True)
class _Span:
    """The part of the source that the crop keeps along one axis, in source pixels."""

    start: float
    stop: float
    scale: float  # source pixels per output pixel

    @classmethod
    def of(cls, source: int, resized: int, crop: int) -> "_Span":
        scale = source / resized
        first = (resized - crop) // 2
        return cls(first * scale, (first + crop) * scale, scale)

    def window(self, source: int, radius: float) -> tuple[int, int]:
        """The whole pixels that a filter of `radius` output pixels (source pixels when enlarging) reads."""
        reach = radius * max(self.scale, 1.0) + 1
        return max(0, math.floor(self.start - reach)), min(source, math.ceil(self.stop + reach))

    def rounded(self, source: int) -> tuple[int, int]:
        """The nearest whole pixels, at least one."""
        first = min(round(self.start), source - 1)
        return first, max(round(self.stop), first + 1)


class Preprocessor:
    """RGB uint8 [h, w, 3], any size -> RGB uint8 [crop_height, crop_width, 3]. Threads may share one.

    `digest` (sha256, hex) covers the spec, the variant and the algorithm's version: equal digests mean equal pixels.
    """

    def __init__(self, spec: PreprocessSpec, variant: Variant = "fast") -> None:
        self.spec = spec
        self.variant = variant
        described = msgspec.json.encode([spec, variant, _ALGORITHM_VERSIONS[variant]])
        self.digest = hashlib.sha256(described).hexdigest()

    def reduction(self, height: int, width: int) -> int:
        """The factor 1, 2, 4 or 8 by which a decoder may reduce a picture of this size, averaging blocks.

        The reduced picture is still larger than the crop. ADR 50 has the cosines and times of this and other ways to
        spare the decoder work. `exact` needs the full picture.
        """
        if self.variant == "exact":
            return 1
        scale = min(span.scale for span in self._spans(height, width)) / _MIN_SCALE_LEFT
        return max(factor for factor in _REDUCTIONS if factor <= max(1.0, scale))

    def __call__(self, rgb: Pixels) -> Pixels:
        """Resize and crop one picture.

        Raises:
            ValueError: `rgb` is not uint8 [h, w, 3] with at least one pixel.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != _CHANNELS or rgb.shape[2] != _CHANNELS or rgb.size == 0:
            raise ValueError(f"expected uint8 [h, w, 3], got {rgb.dtype} {list(rgb.shape)}")
        rows, columns = self._spans(rgb.shape[0], rgb.shape[1])
        if self.variant == "exact":
            return self._exact(rgb, rows, columns)
        return self._fast(rgb, rows, columns)

    def _spans(self, height: int, width: int) -> tuple[_Span, _Span]:
        edge = self.spec.resize_shortest_edge
        if edge is None:
            return (
                _Span.of(height, self.spec.crop_height, self.spec.crop_height),
                _Span.of(width, self.spec.crop_width, self.spec.crop_width),
            )
        # The reference implementation truncates the long side to whole pixels, so this does too.
        resized_height = edge if height <= width else int(edge * height / width)
        resized_width = edge if width <= height else int(edge * width / height)
        return (
            _Span.of(height, resized_height, self.spec.crop_height),
            _Span.of(width, resized_width, self.spec.crop_width),
        )

    def _exact(self, rgb: Pixels, rows: _Span, columns: _Span) -> Pixels:
        radius = _KERNEL_RADIUS[self.spec.resample]
        top, bottom = rows.window(rgb.shape[0], radius)
        left, right = columns.window(rgb.shape[1], radius)
        picture = Image.fromarray(rgb[top:bottom, left:right])
        box = (columns.start - left, rows.start - top, columns.stop - left, rows.stop - top)
        size = (self.spec.crop_width, self.spec.crop_height)
        # Pillow refuses a box that passes the edge by a rounding error.
        inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], right - left), min(box[3], bottom - top))
        return np.asarray(picture.resize(size, _PIL_RESAMPLE[self.spec.resample], box=inside))

    def _fast(self, rgb: Pixels, rows: _Span, columns: _Span) -> Pixels:
        top, bottom = rows.rounded(rgb.shape[0])
        left, right = columns.rounded(rgb.shape[1])
        kept = rgb[top:bottom, left:right]
        size = (self.spec.crop_width, self.spec.crop_height)
        if self.spec.resize_shortest_edge is None and max(rows.scale, columns.scale) > _LINEAR_MAX_SCALE:
            # One side may shrink much while the other grows. OpenCV averages areas only when neither side grows.
            smaller = (min(size[0], kept.shape[1]), min(size[1], kept.shape[0]))
            kept = np.asarray(cv2.resize(kept, smaller, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        shrinks_much = min(rows.scale, columns.scale) > _LINEAR_MAX_SCALE
        interpolation = cv2.INTER_AREA if shrinks_much else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(kept, size, interpolation=interpolation), dtype=np.uint8)
