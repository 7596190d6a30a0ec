"""Creates `demo/data` from a copy of GroceryStoreDataset: `python -m demo.prepare_data GROCERY_DIR`.

The same data set gives the same files. Only needed to recreate `demo/data`, which is in the repository.
"""

import argparse
import csv
import hashlib
import re
import shutil
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from demo.dataset import DATA_DIR

PHOTO_SIDE_PX = 320
CALIBRATION_SIDE_PX = 240  # these are many
IMAGE_QUALITY = 92  # catalogue images are small and clean, so artefacts would be visible
PHOTO_QUALITY = 85

# Invented prices in euros of one piece or package per category; `_price` varies them by product.
PRICES_EUR = {
    "Apple": 0.55, "Avocado": 1.29, "Banana": 0.29, "Kiwi": 0.39, "Lemon": 0.49, "Lime": 0.39, "Mango": 1.79,
    "Melon": 2.99, "Nectarine": 0.49, "Orange": 0.59, "Papaya": 2.79, "Passion Fruit": 0.79, "Peach": 0.55,
    "Pear": 0.59, "Pineapple": 2.49, "Plum": 0.29, "Pomegranate": 1.49, "Red Grapefruit": 0.89, "Satsumas": 0.35,
    "Juice": 2.29, "Milk": 1.29, "Oatghurt": 2.19, "Oat Milk": 1.89, "Sour Cream": 1.39, "Sour Milk": 1.59,
    "Soyghurt": 2.29, "Soy Milk": 1.99, "Yoghurt": 2.09, "Asparagus": 2.99, "Aubergine": 1.19, "Cabbage": 1.59,
    "Carrots": 0.99, "Cucumber": 0.89, "Garlic": 0.49, "Ginger": 0.79, "Leek": 0.79, "Mushroom": 1.79, "Onion": 0.25,
    "Pepper": 0.99, "Potato": 0.29, "Red Beet": 0.39, "Tomato": 0.39, "Zucchini": 0.89,
}  # fmt: skip

# Corrections of mistakes in the data set's descriptions, which were translated from Swedish.
CORRECTIONS = {
    "Papayan has": "Papaya has",
    "and and": "and",
    "when the it": "when it",
    "for example. with": "for example with",
    "suitable for well for": "well suited for",
    "remove the log": "remove the core",
    "God Morning": "God Morgon",
    "Golden Grape is": "Golden Grapefruit is",
    "can guarantees": "can guarantees the product to be",
}


@dataclass(frozen=True)
class CatalogRow:
    """A row of `catalog.csv`; `image` is relative to the file's folder."""

    id: str
    name: str
    category: str
    price: str
    description: str
    image: str


@dataclass(frozen=True)
class PhotoRow:
    """A row of `photos.csv` and `calibration.csv`; `file` is relative to the file's folder."""

    file: str
    product: str


def main() -> None:
    """Write the catalogue, its images, all photos and the licence; existing images and photos are replaced."""
    parser = argparse.ArgumentParser(description="Create demo/data from a copy of GroceryStoreDataset.")
    parser.add_argument("grocery", type=Path, metavar="GROCERY_DIR", help="contains classes.csv and val.txt")
    grocery = parser.parse_args().grocery
    missing = [name for name in ("LICENSE", "classes.csv", "val.txt") if not (grocery / name).is_file()]
    if missing:
        parser.error(f"no {', '.join(missing)} in {grocery}")
    for folder in ("images", "photos", "calibration"):
        shutil.rmtree(DATA_DIR / folder, ignore_errors=True)
        (DATA_DIR / folder).mkdir(parents=True)
    with (grocery / "classes.csv").open(newline="", encoding="utf-8") as file:
        classes = list(csv.reader(file))[1:]
    catalog = [_catalog_row(grocery, line) for line in classes]
    photos, held_out = _photo_rows(grocery, [row.id for row in catalog])
    _write_csv(DATA_DIR / "catalog.csv", catalog)
    _write_csv(DATA_DIR / "photos.csv", photos)
    _write_csv(DATA_DIR / "calibration.csv", held_out)
    shutil.copyfile(grocery / "LICENSE", DATA_DIR / "LICENSE")
    size = sum(path.stat().st_size for path in DATA_DIR.rglob("*") if path.is_file())
    print(f"{len(catalog)} products, {len(photos)} + {len(held_out)} photos, {size / 1e6:.1f} MB in {DATA_DIR}")


def _catalog_row(grocery: Path, line: list[str]) -> CatalogRow:
    class_name, _, coarse_name, _, image, description = line
    category = coarse_name.replace("-", " ")
    row = CatalogRow(
        id=class_name.lower(),
        name=class_name.replace("-", " "),
        category=category,
        price=_price(class_name, category),
        description=_clean((grocery / description.lstrip("/")).read_text(encoding="utf-8")),
        image=f"images/{class_name.lower()}.jpg",
    )
    _write_jpeg(DATA_DIR / row.image, _read(grocery / image.lstrip("/")), IMAGE_QUALITY)
    return row


def _photo_rows(grocery: Path, ids: list[str]) -> tuple[list[PhotoRow], list[PhotoRow]]:
    """Of the `val` photos of each product the first and the last, and all others.

    The cameras show the former, as adjacent photos show almost the same scene; the latter calibrate.
    """
    lines = [line.split(", ") for line in (grocery / "val.txt").read_text(encoding="utf-8").splitlines()]
    shown, held_out = [], []
    for number, product in enumerate(ids):
        sources = [grocery / path for path in sorted(path for path, fine, _ in lines if int(fine) == number)]
        for count, source in enumerate(dict.fromkeys([*sources[:1], *sources[-1:]]), start=1):
            shown.append(_photo_row(source, product, f"photos/{product}-{count}.jpg", PHOTO_SIDE_PX))
        for count, source in enumerate(sources[1:-1], start=1):
            held_out.append(_photo_row(source, product, f"calibration/{product}-{count}.jpg", CALIBRATION_SIDE_PX))
    return shown, held_out


def _photo_row(source: Path, product: str, file: str, side_px: int) -> PhotoRow:
    resized = cv2.resize(_read(source), (side_px, side_px), interpolation=cv2.INTER_AREA)
    _write_jpeg(DATA_DIR / file, np.asarray(resized, np.uint8), PHOTO_QUALITY)
    return PhotoRow(file, product)


def _price(class_name: str, category: str) -> str:
    """The category's price, varied by up to 20 % by the product's name, and ending in 5 or 9."""
    share = int.from_bytes(hashlib.sha256(class_name.encode()).digest()[:2], "big") / 0xFFFF
    cents = round(PRICES_EUR[category] * (80 + 40 * share))
    return f"{(cents // 10 * 10 + (5 if cents % 10 < 6 else 9)) / 100:.2f}"  # noqa: PLR2004  # the closer of the two


def _clean(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    for wrong, right in CORRECTIONS.items():
        text = text.replace(wrong, right)
    return text


def _read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"cannot read {path}")
    return np.asarray(picture, np.uint8)


def _write_jpeg(path: Path, picture: np.ndarray, quality: int) -> None:
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])


def _write_csv(path: Path, rows: list[CatalogRow] | list[PhotoRow]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(rows[0]))
        writer.writerows(astuple(row) for row in rows)


if __name__ == "__main__":
    main()
