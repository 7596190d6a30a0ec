"""Where the demo's pictures and its model lie, and what `photos.csv` lists."""

import csv
from pathlib import Path

from demo.schedule import Photo

DATA_DIR = Path(__file__).parent / "data"
# A model bundle in the layout of a CLIP ONNX export; model/README.md tells how it was trained.
BUNDLE_DIR = Path(__file__).parent / "model" / "grocery-mini"


def load_photos(data_dir: Path = DATA_DIR) -> tuple[Photo, ...]:
    """The photos of the products, in the order of `photos.csv`."""
    with (data_dir / "photos.csv").open(newline="", encoding="utf-8") as file:
        return tuple(Photo(line["file"], line["product"]) for line in csv.DictReader(file))
