"""Catalogues with more than 48 MB of pictures, texts or embeddings, which is what one reply of a server may have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framematch.catalog.building.build import build_snapshot
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import Database
from framematch.catalog.operations.activation import activate
from framematch.catalog.products import Product, ProductStore
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot, save_snapshot
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import MODEL, SPEC, ColourEncoder, unit_rows, write_snapshot

pytestmark = pytest.mark.integration

REPLY_BYTES = 48_000_000
PHOTOS = 16


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A catalogue of `PHOTOS` products, each with a photo of about 3.5 MB."""
    noise = np.random.default_rng(0).integers(0, 255, (1_500, 2_000, 3), np.uint8)
    for number in range(PHOTOS):
        noise[:100, :100] = number
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg", quality=93)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > REPLY_BYTES
    rows = "".join(f"p{number},Product,{number}.jpg\n" for number in range(PHOTOS))
    (tmp_path / "products.csv").write_text("id,name,image\n" + rows)
    return tmp_path / "products.csv"


async def test_phone_photos_are_imported_and_built(database: Database, photos: Path) -> None:
    store = ProductStore(database)
    report = await import_products(photos, ImportOptions(images=photos.parent), store)
    assert report.added == PHOTOS

    encoder = ColourEncoder(replace(MODEL, max_batch_size=32))
    manifest = await build_snapshot(store, encoder, Preprocessor(SPEC, "fast"), photos.parent)
    assert (manifest.products, encoder.largest_batch) == (PHOTOS, PHOTOS)


async def test_products_with_long_texts_are_listed(database: Database) -> None:
    store = ProductStore(database)
    count, text = 220, "x" * 250_000
    assert count * len(text) > REPLY_BYTES
    for start in range(0, count, 55):
        await store.upsert_many([Product(f"{n:03}", "Product", description=text) for n in range(start, start + 55)])
    assert [product.id async for product in store.iterate()] == [f"{number:03}" for number in range(count)]


async def test_a_large_index_is_stored_and_loaded(database: Database, tmp_path: Path) -> None:
    manifest = write_snapshot(tmp_path, unit_rows(130, 100_000), [str(number) for number in range(130)])
    assert sum(info.bytes for info in manifest.files.values()) > REPLY_BYTES
    await save_snapshot(database, open_storage(None, database), manifest, tmp_path)
    await activate(database, manifest.id)
    assert (await load_snapshot(database, open_storage(None, database), tmp_path)).manifest == manifest
