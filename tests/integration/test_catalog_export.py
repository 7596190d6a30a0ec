"""`framematch catalog export` with a real MongoDB server: what it writes, an import takes as it is."""

import asyncio
import csv
import hashlib
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from framematch.catalog.exporting.export import Export
from framematch.catalog.exporting.picture_files import PictureFiles
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import Database
from framematch.catalog.product import Product, Sku, StoredImage, View
from framematch.catalog.products import ProductStore
from framematch.cli.catalog import app
from framematch.core.errors import UsageError
from framematch.stack.mongodb import MongoServer
from tests.unit.catalog.snapshots import picture

pytestmark = pytest.mark.integration

PICTURES = [picture(number) for number in range(4)]
VIEWS = [View(hashlib.sha256(data).hexdigest(), 24, 24) for data in PICTURES]
PRODUCTS = [
    Product("'-5", "=1+1", "Odd", Decimal("1.234"), "+49 30", {"Brand": "@home", "brand": "x"}, (VIEWS[0],)),
    Product("a", "Apple", "Fruit", Decimal("0.123456789012345"), None, {"origin": "Côte d'Or"}, (VIEWS[1],), "EUR"),
    Product(
        "gid://shopify/Product/7", "Your Cat's Hydration", "Pets", None, "Two\nlines; and more, much more",
        {"Vendor": "Acme", "size": {"cm": [1, None, 2.5]}, "note": " spaces ", "empty": ""}, tuple(VIEWS[2:]), "USD",
        (Sku("cat-s", "04006381333931", Decimal("9.90"), {"Size": "S"}), Sku("cat-m", None, None, {"Size": "M"})),
    ),
]  # fmt: skip

NAMES = ["products.csv", "products.jsonl"]


@pytest.fixture
async def store(database: Database) -> ProductStore:
    """A catalogue of odd products with their pictures."""
    store = ProductStore(database)
    await store.put_images([StoredImage(view, data) for view, data in zip(VIEWS, PICTURES, strict=True)])
    await store.upsert_many(PRODUCTS)
    return store


@pytest.fixture
def connected(store: ProductStore, mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the catalogue."""
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", store.database.name)


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def all_products(store: ProductStore) -> list[Product]:
    return [product async for product in store.iterate()]


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("name", NAMES)
async def test_an_export_imported_on_top_changes_nothing_and_into_an_empty_catalogue_everything(
    store: ProductStore, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    assert "3 products exported" in (await run("export", str(file))).stderr
    again = await import_products(file, ImportOptions(images=tmp_path), store)
    assert (again.added, again.changed, again.same, again.problems) == (0, 0, 3, ())
    await store.delete_many([product.id for product in PRODUCTS])
    assert (await import_products(file, ImportOptions(images=tmp_path), store)).added == 3
    assert await all_products(store) == PRODUCTS


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("name", NAMES)
async def test_an_export_with_its_pictures_is_imported_into_another_database(
    store: ProductStore, tmp_path: Path, name: str
) -> None:
    file, folder = tmp_path / name, tmp_path / "pictures"
    done = await run("export", str(file), "--pictures", str(folder))
    assert f"framematch catalog import {file} --images {folder}" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{view.image}.png": data for view, data in zip(VIEWS, PICTURES, strict=True)
    }
    await store.database.products.delete_many({})
    await store.database.images.delete_many({})
    assert (await import_products(file, ImportOptions(images=folder), store)).added == 3
    assert await all_products(store) == PRODUCTS


@pytest.mark.usefixtures("connected")
async def test_an_export_of_a_category_goes_to_the_standard_output(store: ProductStore) -> None:
    await store.upsert_many([Product("b", "Banana", "Fruit")])
    done = await run("export", "-", "--category", "Fruit")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["a", "b"]
    assert "2 products exported to the standard output" in done.stderr
    table = await run("export", "-", "--category", "Fruit", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table.stdout.removeprefix("\ufeff"))))
    assert [row["id"] for row in rows] == ["a", "b"]


@pytest.mark.usefixtures("connected")
async def test_a_file_is_replaced_when_all_is_written_and_kept_when_not(tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    file.write_text("old")
    (tmp_path / "a-file").write_text("x")
    failed = await run("export", str(file), "--pictures", str(tmp_path / "a-file" / "below"))
    assert isinstance(failed.exception, UsageError)
    assert file.read_text() == "old"
    await run("export", str(file))
    assert len(file.read_text().splitlines()) == 3
    assert await asyncio.to_thread(names_in, tmp_path) == ["a-file", "products.jsonl"]
    nowhere = await run("export", str(tmp_path / "none" / "products.csv"))
    assert isinstance(nowhere.exception, UsageError)
    assert "cannot write" in nowhere.exception.message


async def test_a_picture_that_is_gone_stands_by_its_digest_and_is_counted(store: ProductStore, tmp_path: Path) -> None:
    await store.database.images.update_one({"_id": VIEWS[1].image}, {"$set": {"data": b"damaged"}})
    export = Export(store, "jsonl", pictures=PictureFiles(store, tmp_path))
    lines = b"".join([piece async for piece in export.pieces()]).splitlines()
    assert export.pictures is not None
    assert export.pictures.missing == {VIEWS[1].image}
    assert [json.loads(line)["images"][0] for line in lines] == [
        f"{VIEWS[0].image}.png",
        f"sha256:{VIEWS[1].image}",
        f"{VIEWS[2].image}.png",
    ]


async def test_pictures_that_are_there_already_are_not_read_again(store: ProductStore, tmp_path: Path) -> None:
    await PictureFiles(store, tmp_path).write(PRODUCTS)
    await store.database.images.delete_many({})
    again = PictureFiles(store, tmp_path)
    await again.open()
    await again.write(PRODUCTS)
    assert (len(again.names), again.missing) == (4, set())
