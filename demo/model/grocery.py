"""Reads the data: GroceryStoreDataset's photos, and the demo's catalogue of its 81 products."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from demo.dataset import DATA_DIR
from framematch.core.arrays import Pixels

# Iconic pictures are cut-outs on white with some JPEG noise.
_WHITE_TOLERANCE = 10


@dataclass(frozen=True)
class Product:
    """A product of the catalogue with its iconic picture, RGB [198, 198, 3]."""

    id: str
    name: str
    category: str
    description: str
    iconic: Pixels


@dataclass(frozen=True)
class Photos:
    """The files of one split's photos, and the row of each one's product in the catalogue [N]."""

    files: Sequence[Path]
    products: npt.NDArray[np.int64]

    def __iter__(self) -> Iterator[Pixels]:
        """The photos, RGB, most of them 348 x 348; they are read one at a time."""
        return map(read_rgb, self.files)


def load_products(data_dir: Path = DATA_DIR) -> list[Product]:
    """The catalogue, in the data set's order of classes."""
    with (data_dir / "catalog.csv").open(newline="", encoding="utf-8") as file:
        return [
            Product(row["id"], row["name"], row["category"], row["description"], read_rgb(data_dir / row["image"]))
            for row in csv.DictReader(file)
        ]


def load_photos(grocery: Path, split: str) -> Photos:
    """The photos that `split`.txt lists.

    Raises:
        FileNotFoundError: `grocery` is not a copy of the data set with that split.
    """
    lines = [line.split(", ") for line in (grocery / f"{split}.txt").read_text(encoding="utf-8").splitlines()]
    return Photos([grocery / line[0] for line in lines], np.array([int(line[1]) for line in lines], np.int64))


def read_rgb(path: Path) -> Pixels:
    """The picture as RGB [h, w, 3].

    Raises:
        FileNotFoundError: it is missing or not a picture.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise FileNotFoundError(f"cannot read {path}")
    return np.ascontiguousarray(bgr[:, :, ::-1], np.uint8)


def cut_out(iconic: Pixels) -> npt.NDArray[np.float32]:
    """The share of each pixel that belongs to the product, 0 to 1 [h, w]: all but white connected to the border."""
    height, width = iconic.shape[:2]
    # A white frame connects all white regions at the border, so one flood fill from the corner finds them.
    framed = np.pad(iconic, ((1, 1), (1, 1), (0, 0)), constant_values=255)
    mask = np.zeros((height + 4, width + 4), np.uint8)
    tolerance = (_WHITE_TOLERANCE,) * 3
    flags = 4 | (255 << 8) | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
    cv2.floodFill(framed, mask, (0, 0), (0, 0, 0), tolerance, tolerance, flags)
    product = (mask[2:-2, 2:-2] == 0).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(product, (3, 3), 0), np.float32)
