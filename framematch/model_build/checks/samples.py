"""Built-in pictures and texts for testing a model: always the same, and unlike each other."""

import cv2
import numpy as np

from framematch.core.arrays import Pixels

PRODUCT_NAMES = (
    "a jar of honey",
    "blue denim shorts, size 8",
    "fresh green asparagus, 500 g",
    "crème fraîche",
    "running shoes",
    "a carton of milk",
)
# Width and height: smaller and larger than a model's input, upright, wide and odd.
_SIZES = ((160, 120), (224, 224), (640, 360), (333, 517), (1280, 720), (901, 601))
_SHAPES = 12
_CHANNELS = 3
_SEED = 20


def sample_pictures() -> dict[str, Pixels]:
    """RGB uint8 [h, w, 3] by name: gradients, clouds and shapes, each in several sizes."""
    rng = np.random.default_rng(_SEED)
    kinds = {"gradient": _gradient, "clouds": _clouds, "shapes": _shapes}
    return {
        f"{kind} {width}x{height}": draw(rng, width, height) for width, height in _SIZES for kind, draw in kinds.items()
    }


def _gradient(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A gradient between four corners of different colours."""
    corners = rng.uniform(0, 255, (2, 2, _CHANNELS)).astype(np.float32)
    return _bytes(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR))


def _clouds(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Noise at every scale, weaker at finer scales, as in photos."""
    total = np.full((height, width, _CHANNELS), 128.0, np.float32)
    cells = 3
    while cells < max(width, height):
        noise = rng.normal(0, 150 / cells, (cells, cells, _CHANNELS)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
    return _bytes(total)


def _shapes(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Rectangles and discs with smooth edges on one colour."""
    canvas = np.full((height, width, _CHANNELS), rng.integers(0, 256, _CHANNELS), np.uint8)
    for number in range(_SHAPES):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = int(rng.integers(min(width, height) // 10, min(width, height) // 3))
        colour = tuple(int(value) for value in rng.integers(0, 256, _CHANNELS))
        if number % 2:
            cv2.circle(canvas, (x, y), size, colour, thickness=-1, lineType=cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (x, y), (x + size, y + size // 2), colour, thickness=-1)
    return canvas


def _bytes(values: cv2.typing.MatLike) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
