"""Ways to scale a picture to what the model takes: the product's two, and those that they were chosen from."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framematch.vision.preprocess import Preprocessor
from framematch.vision.preprocess_spec import PreprocessSpec

Pixels = NDArray[np.uint8]
Scale = Callable[[Pixels], Pixels]

_RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_TWICE = 2.0


def product_ways(spec: PreprocessSpec) -> dict[str, Scale]:
    """The two that the product has."""
    return {"exact": Preprocessor(spec, "exact"), "fast": Preprocessor(spec, "fast")}


def other_ways(spec: PreprocessSpec) -> dict[str, Scale]:
    """Those that `framematch/vision/preprocess.py` was chosen from."""
    area, linear, cubic = cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC

    def after_area(scale: float, last: Scale) -> Scale:
        """Area averaging down to `scale` times the crop, then `last`."""
        return lambda rgb: last(_shrunk_to(_kept(rgb, spec), spec, scale))

    return {
        "exact, crop last": lambda rgb: reference_pixels(rgb, spec),
        "area to 2x, then exact": after_area(_TWICE, lambda kept: _pillow(kept, spec)),
        "area": lambda rgb: _opencv(_kept(rgb, spec), spec, area),
        "area to 2x, then linear": after_area(_TWICE, lambda kept: _opencv(kept, spec, linear)),
        "integer area, then linear": lambda rgb: _opencv(_shrunk_by_integer(_kept(rgb, spec), spec), spec, linear),
        "area to 2x, then cubic": after_area(_TWICE, lambda kept: _opencv(kept, spec, cubic)),
        "linear": lambda rgb: _opencv(_kept(rgb, spec), spec, linear),
        "cubic": lambda rgb: _opencv(_kept(rgb, spec), spec, cubic),
    }


def reference_pixels(rgb: Pixels, spec: PreprocessSpec) -> Pixels:
    """As the reference processor does it: resize the whole picture, then crop."""
    resized = _resized_to(rgb, spec)
    left, top = (resized[0] - spec.crop_width) // 2, (resized[1] - spec.crop_height) // 2
    picture = Image.fromarray(rgb).resize(resized, _RESAMPLE[spec.resample])
    return np.asarray(picture.crop((left, top, left + spec.crop_width, top + spec.crop_height)))


def _resized_to(rgb: Pixels, spec: PreprocessSpec) -> tuple[int, int]:
    """Width and height of the whole picture after resizing; the long side is cut down to whole pixels."""
    height, width = rgb.shape[:2]
    edge = spec.resize_shortest_edge
    if edge is None:
        return spec.crop_width, spec.crop_height
    return (
        edge if width <= height else int(edge * width / height),
        edge if height <= width else int(edge * height / width),
    )


def _kept(rgb: Pixels, spec: PreprocessSpec) -> Pixels:
    """The part of the picture that the crop keeps, to the nearest pixel."""
    columns, rows = (
        slice(round(first * scale), round((first + crop) * scale))
        for source, resized, crop in zip(
            rgb.shape[1::-1], _resized_to(rgb, spec), (spec.crop_width, spec.crop_height), strict=True
        )
        for first, scale in [((resized - crop) // 2, source / resized)]
    )
    return rgb[rows, columns]


def _shrunk_to(kept: Pixels, spec: PreprocessSpec, scale: float) -> Pixels:
    size = (round(spec.crop_width * scale), round(spec.crop_height * scale))
    return kept if kept.shape[0] <= size[1] else _resized(kept, size, cv2.INTER_AREA)


def _shrunk_by_integer(kept: Pixels, spec: PreprocessSpec) -> Pixels:
    factor = math.ceil(kept.shape[0] / spec.crop_height / _TWICE)
    if factor == 1:
        return kept
    return _resized(kept, (kept.shape[1] // factor, kept.shape[0] // factor), cv2.INTER_AREA)


def _opencv(kept: Pixels, spec: PreprocessSpec, interpolation: int) -> Pixels:
    return _resized(kept, (spec.crop_width, spec.crop_height), interpolation)


def _resized(rgb: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), dtype=np.uint8)


def _pillow(kept: Pixels, spec: PreprocessSpec) -> Pixels:
    return np.asarray(Image.fromarray(kept).resize((spec.crop_width, spec.crop_height), _RESAMPLE[spec.resample]))
