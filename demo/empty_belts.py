"""Draws empty belts, as pictures that show nothing: they are no product for the demo's cameras."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from demo import timecode
from demo.feed import HEIGHT, WIDTH, draw_belt, draw_noise
from demo.timecode import Picture

_SEED = b"empty belts"  # another than those of the cameras, whose belts are none of these
_JPEG_QUALITY = 85


def write_empty_belts(folder: Path, count: int = 40) -> None:
    """Write `count` JPEGs into `folder`, each of another belt, for `framematch catalog calibrate --nothing`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(draw_empty_belts(count)):
        cv2.imwrite(str(folder / f"belt-{number:03}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def draw_empty_belts(count: int) -> Iterator[Picture]:
    """Yield `count` frames without a product as [360, 640, 3] BGR; the same number gives the same pixels."""
    for number in range(count):
        rng = np.random.default_rng([*_SEED, number])
        picture = draw_belt(rng)
        cv2.add(picture, draw_noise(rng, (HEIGHT, WIDTH, 3)), dst=picture, dtype=cv2.CV_8U)
        timecode.write(picture, 1 + number % 2, number)
        yield picture
