"""The locations of the demo's pictures and model, and its list of photos."""

import csv
from pathlib import Path

from demo.schedule import Photo

DATA_DIR = Path(__file__).parent / "data"
# A model bundle in the layout of a CLIP ONNX export; model/README.md describes its training.
BUNDLE_DIR = Path(__file__).parent / "model" / "grocery-lite"


def load_photos(data_dir: Path = DATA_DIR) -> tuple[Photo, ...]:
    """The photos that the feeds show, in the order of their list."""
    return _load(data_dir / "photos.csv")


def load_calibration_photos(data_dir: Path = DATA_DIR) -> tuple[Photo, ...]:
    """Further photos of the same products, which no feed shows."""
    return _load(data_dir / "calibration.csv")


def _load(path: Path) -> tuple[Photo, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(Photo(line["file"], line["product"]) for line in csv.DictReader(file))
