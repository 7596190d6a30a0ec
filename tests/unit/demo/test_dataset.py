"""The demo's data are complete and consistent."""

import csv
from collections.abc import Callable, Sequence

import cv2
import pytest

from demo.dataset import DATA_DIR, load_calibration_photos, load_photos
from demo.schedule import Photo

with (DATA_DIR / "catalog.csv").open(newline="", encoding="utf-8") as file:
    CATALOG = list(csv.DictReader(file))


def test_the_catalogue_has_81_products_with_ids_of_their_own() -> None:
    assert len({row["id"] for row in CATALOG}) == len(CATALOG) == 81


@pytest.mark.parametrize("row", CATALOG, ids=[row["id"] for row in CATALOG])
def test_every_product_has_text_a_price_and_a_readable_image(row: dict[str, str]) -> None:
    assert row["name"]
    assert row["category"]
    assert row["description"] == " ".join(row["description"].split()) != ""
    assert 0.1 < float(row["price"]) < 10
    assert cv2.imread(str(DATA_DIR / row["image"])) is not None


@pytest.mark.parametrize("load", [load_photos, load_calibration_photos])
def test_every_photo_is_readable_and_shows_a_product_of_the_catalogue(load: Callable[[], Sequence[Photo]]) -> None:
    photos = load()
    assert len(photos) >= 60
    assert {photo.product for photo in photos} <= {row["id"] for row in CATALOG}
    assert all(cv2.imread(str(DATA_DIR / photo.file)) is not None for photo in photos)


def test_no_photo_of_a_feed_calibrates() -> None:
    shown, held_out = (
        {(DATA_DIR / photo.file).read_bytes() for photo in photos}
        for photos in (load_photos(), load_calibration_photos())
    )
    assert not shown & held_out


def test_every_photo_and_image_is_listed() -> None:
    listed = {row["image"] for row in CATALOG}
    listed |= {photo.file for photo in (*load_photos(), *load_calibration_photos())}
    assert {path.relative_to(DATA_DIR).as_posix() for path in DATA_DIR.rglob("*.jpg")} == listed


def test_the_data_stays_small_enough_for_the_repository() -> None:
    assert sum(path.stat().st_size for path in DATA_DIR.rglob("*") if path.is_file()) < 6_000_000
