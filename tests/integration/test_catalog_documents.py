"""Documents that another program wrote or damaged: every reader names them, and an import repairs them."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import bson
import msgspec
import pytest
from bson import Decimal128, Int64, ObjectId
from structlog.testing import capture_logs
from typer.testing import CliRunner

from framematch.catalog.building.build import build_snapshot
from framematch.catalog.exporting.json_lines import export_line
from framematch.catalog.importing.accounts import ImportReport
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import Database
from framematch.catalog.operations.activation import activate
from framematch.catalog.product import Sku
from framematch.catalog.products import MAX_ID_CHARACTERS, Product, ProductStore
from framematch.catalog.snapshots.names import SnapshotNames, read_names, repair_names
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage
from framematch.catalog.snapshots.store import load_snapshot, save_snapshot
from framematch.cli.catalog import app
from framematch.core.errors import CatalogError
from framematch.core.events import ProductInfo, encode
from framematch.stack.mongodb import MongoServer
from framematch.vision.preprocess import Preprocessor
from tests.sample_events import match_event
from tests.unit.catalog.snapshots import SPEC, ColourEncoder, picture

pytestmark = pytest.mark.integration

PICTURE = picture(0)
DIGEST = hashlib.sha256(PICTURE).hexdigest()
VIEW = {"image": DIGEST, "width": 24, "height": 24}
CSV = "id,name,image\na,Apple,0.png\nb,Banana,1.png\n"
PREPROCESSOR = Preprocessor(SPEC, "fast")


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> ProductStore:
    """A catalogue of two products."""
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "products.csv").write_text(CSV)
    store = ProductStore(database)
    await import_again(store, tmp_path)
    return store


async def import_again(store: ProductStore, folder: Path) -> ImportReport:
    return await import_products(folder / "products.csv", ImportOptions(images=folder), store)


async def ids(store: ProductStore) -> list[str]:
    return [product.id async for product in store.iterate()]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "Apple"}, "views is missing or null"),
        ({"name": "Apple", "views": None}, "views is missing or null"),
        ({"name": "Apple", "views": "00ff"}, "views is '00ff'"),
        ({"name": "Apple", "views": [None]}, "a view is missing or null"),
        ({"name": "Apple", "views": [{**VIEW, "width": "wide"}]}, "width is 'wide'"),
        ({"name": "Apple", "views": [{**VIEW, "image": ObjectId(b"twelve bytes")}]}, "image is ObjectId"),
        ({}, "views is missing or null"),
    ],
)
async def test_an_unreadable_product_is_left_out_and_named_and_an_import_repairs_it(
    store: ProductStore, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    await store.database.products.replace_one({"_id": "a"}, fields)
    with capture_logs() as logs:
        assert await store.get_many(["a", "b"]) == {"b": (await store.get_many(["b"]))["b"]}
        assert await ids(store) == ["b"]
    [entry] = logs
    assert (entry["event"], entry["product"]) == ("product_unreadable", "'a'")
    assert entry["error"].startswith(reason)
    assert (await import_again(store, tmp_path)).problems == ()
    assert await ids(ProductStore(store.database)) == ["a", "b"]


async def test_documents_of_another_program_are_left_out_and_named(store: ProductStore) -> None:
    whole = {"name": "x", "views": [VIEW]}
    foreign: list[Any] = [
        ObjectId(b"twelve bytes"),
        5,
        {"a": 1},
        datetime(2026, 1, 1, tzinfo=UTC),
        "",
        "x" * (MAX_ID_CHARACTERS + 1),
    ]
    await store.database.products.insert_many([{"_id": key, **whole} for key in foreign])
    with capture_logs() as logs:
        assert await ids(store) == ["a", "b"]
    assert [entry["event"] for entry in logs] == ["product_unreadable"] * len(foreign)


@pytest.mark.parametrize(
    "added",
    [
        bson.DatetimeMS(2**60),
        bson.Regex("("),
        ObjectId(b"twelve bytes"),
        Decimal128("NaN"),
        b"\x00" * 100,
        float("nan"),
        "x" * 1_000_000,
        {"$ref": "products", "$id": 1},
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_a_field_that_is_not_ours_is_ignored_at_every_level(
    store: ProductStore, tmp_path: Path, added: Any
) -> None:
    before = await store.get_many(["a"])
    await store.database.products.update_one({"_id": "a"}, {"$set": {"added": added, "views.0.added": added}})
    await store.database.images.update_many({}, {"$set": {"added": added}})
    await store.database.meta.update_many({}, {"$set": {"added": added}})
    with capture_logs() as logs:
        assert await store.get_many(["a"]) == before
        assert (await import_again(store, tmp_path)).same == 2
        assert await store.catalog_version() == 1
        await build_snapshot(store, ColourEncoder(), PREPROCESSOR, tmp_path)
    assert [entry for entry in logs if entry["log_level"] == "warning"] == []


async def test_text_that_is_not_utf_8_does_not_hide_other_products(store: ProductStore) -> None:
    raw = bson.encode({"_id": "c", "name": "CaXe", "views": [VIEW], "addXed": "CaXe"}).replace(b"X", b"\xff")
    await store.database.products.insert_one(bson.raw_bson.RawBSONDocument(raw))
    found = await store.get_many(["a", "c"])
    assert (found["a"].name, found["c"].name) == ("Apple", "Ca�e")


async def test_a_product_with_a_field_left_out_is_repaired_even_if_the_file_has_no_such_field(
    store: ProductStore, tmp_path: Path
) -> None:
    await store.database.products.update_one({"_id": "a"}, {"$set": {"price": float("nan")}})
    await import_again(store, tmp_path)
    with capture_logs() as logs:
        assert (await ProductStore(store.database).get_many(["a"]))["a"].price is None
    assert logs == []


async def test_a_product_without_the_text_of_the_search_is_found_by_its_name_and_repaired(
    store: ProductStore, tmp_path: Path
) -> None:
    await store.database.products.update_one({"_id": "a"}, {"$unset": {"search_text": ""}})
    assert [product.id async for product in store.iterate(words="appl")] == ["a"]
    report = await import_again(store, tmp_path)
    assert (report.added, report.changed, report.same) == (0, 1, 1)
    repaired = await store.database.products.find_one({"_id": "a"})
    assert repaired is not None
    assert repaired["search_text"] == "apple"


async def test_a_price_has_the_same_digits_in_file_store_export_and_event(store: ProductStore, tmp_path: Path) -> None:
    price = "0.123456789012340"
    (tmp_path / "products.csv").write_text(f"id,name,image,price,currency\nc,Cherry,0.png,{price},EUR\n")
    await import_again(store, tmp_path)
    document = await store.database.products.find_one({"_id": "c"})
    assert document is not None
    assert str(document["price"]) == price
    product = (await store.get_many(["c"]))["c"]
    info = ProductInfo("c", "Cherry", price=product.price, currency=product.currency)
    for line in (export_line(product), encode(replace(match_event(), product=info))):
        assert f'"price":{price},'.encode() in line
    assert (await import_again(store, tmp_path)).same == 1


@pytest.mark.parametrize(
    ("price", "number"),
    [(12.9, "12.9"), ("12.90", "12.90"), (Decimal128("12.90"), "12.90"), (Int64(12), "12"), (1e-7, "1E-7")],
)
async def test_a_price_of_another_program_is_read_whatever_its_type(
    store: ProductStore, price: Any, number: str
) -> None:
    await store.database.products.update_one({"_id": "a"}, {"$set": {"price": price}})
    found = (await store.get_many(["a"]))["a"].price
    assert str(found) == number


async def test_another_number_of_zeros_is_no_other_price(store: ProductStore, tmp_path: Path) -> None:
    for price, changed in (("1.0", 0), ("1.00", 0), ("1", 0), ("1.01", 1)):
        (tmp_path / "products.csv").write_text(f"id,name,image,price\nc,Cherry,0.png,{price}\n")
        assert (await import_again(store, tmp_path)).changed == changed, price


async def test_articles_that_cannot_be_read_are_left_out_and_named(store: ProductStore) -> None:
    skus = [
        {"id": "good", "gtin": "04006381333931", "price": 1.5, "options": {"Size": "M", "Pack": 6}},
        "text",
        {"gtin": "04006381333931"},
        {"id": "odd", "gtin": "12", "price": "cheap", "options": ["M"]},
    ]
    await store.database.products.update_one({"_id": "a"}, {"$set": {"skus": skus, "currency": "euro"}})
    with capture_logs() as logs:
        product = (await ProductStore(store.database).get_many(["a"]))["a"]
    good = Sku("good", "04006381333931", Decimal("1.5"), {"Size": "M", "Pack": "6"})
    assert (product.skus, product.currency) == ((good, Sku("odd")), None)
    [entry] = logs
    for problem in (
        "currency is 'euro', not a currency",
        "skus[1] is 'text', not an object",
        "skus[2].id is missing or null, not a text",
        "skus[3].gtin is '12', not a GTIN",
        "skus[3].price is 'cheap', not an amount",
        "skus[3].options is ['M'], not an object",
    ):
        assert problem in entry["error"]


@pytest.mark.parametrize("value", ["five", None, -1, 1.5, float("nan"), [1], "missing"])
async def test_a_damaged_catalogue_version_is_named_and_repaired_by_the_next_change(
    store: ProductStore, value: Any
) -> None:
    change = {"$unset": {"version": ""}} if value == "missing" else {"$set": {"version": value}}
    await store.database.meta.update_one({"_id": "catalog_version"}, change)
    with pytest.raises(CatalogError, match="'catalog_version' of the collection meta is damaged: version is"):
        await store.catalog_version()
    await store.upsert_many([Product("c", "Cherry")])
    assert await store.catalog_version() > 1


@pytest.mark.parametrize("change", [{"width": "wide"}, {"height": None}], ids=str)
async def test_a_damaged_image_document_is_stored_again_by_an_import(
    store: ProductStore, tmp_path: Path, change: dict[str, Any]
) -> None:
    await store.database.images.update_one({"_id": DIGEST}, {"$set": change})
    await import_again(store, tmp_path)
    assert await store.get_images([DIGEST]) == {DIGEST: PICTURE}
    assert list(await store.find_views([DIGEST])) == [DIGEST]


@pytest.mark.parametrize("data", [PICTURE[:-1], b"", "text", None])
async def test_an_image_whose_bytes_have_changed_is_never_returned(store: ProductStore, data: Any) -> None:
    await store.database.images.update_one({"_id": DIGEST}, {"$set": {"data": data}})
    with capture_logs() as logs:
        assert await store.get_images([DIGEST]) == {}
    assert [(entry["event"], entry["image"]) for entry in logs] == [("image_unreadable", DIGEST)]


@pytest.mark.parametrize(
    ("change", "repaired"),
    [
        ({"active": ObjectId(b"twelve bytes")}, SnapshotNames(3, previous="old")),
        ({"active": 5, "previous": {"$gt": 1}}, SnapshotNames(3)),
        ({"previous": ""}, SnapshotNames(3, active="new")),
        ({"shadow_sample": "half"}, SnapshotNames(3, active="new", previous="old")),
    ],
    ids=str,
)
async def test_damaged_names_are_told_and_what_is_intact_survives_the_repair(
    database: Database, change: dict[str, Any], repaired: SnapshotNames
) -> None:
    await database.meta.insert_one({"_id": "snapshot_names", "version": 2, "active": "new", "previous": "old"} | change)
    with pytest.raises(CatalogError, match="'snapshot_names' of the collection meta is damaged"):
        await read_names(database)
    await repair_names(database)
    assert await read_names(database) == repaired


@pytest.mark.parametrize("version", [None, "two", 0, -1, 2.5, float("nan"), 2**60, {"$gt": 0}, [1]], ids=str)
async def test_a_damaged_version_of_the_names_is_repaired_by_the_next_activation(
    store: ProductStore, tmp_path: Path, version: Any
) -> None:
    manifest = await build_snapshot(store, ColourEncoder(), PREPROCESSOR, tmp_path)
    await save_snapshot(store.database, GridFsStorage(store.database), manifest, tmp_path)
    await store.database.meta.insert_one({"_id": "snapshot_names", "active": "old", "version": version})
    names = await activate(store.database, manifest.id)
    assert (names.active, names.previous) == (manifest.id, "old")
    assert await read_names(store.database) == names


@pytest.mark.parametrize(
    ("change", "loads"),
    [
        ({"manifest": None}, False),
        ({"manifest": "text"}, False),
        ({"manifest.thresholds.match": float("nan")}, False),
        ({"manifest.rows": "two"}, False),
        ({"manifest.files": []}, False),
        ({"manifest.rows": Int64(2), "added": 1, "manifest.added": ObjectId(b"twelve bytes")}, True),
    ],
    ids=lambda change: str(change)[:40],
)
async def test_a_damaged_manifest_is_named(
    store: ProductStore, tmp_path: Path, change: dict[str, Any], loads: bool
) -> None:
    manifest = await build_snapshot(store, ColourEncoder(), PREPROCESSOR, tmp_path)
    await save_snapshot(store.database, GridFsStorage(store.database), manifest, tmp_path)
    await store.database.snapshots.update_one({"_id": manifest.id}, {"$set": change})
    if loads:
        assert (
            await load_snapshot(store.database, GridFsStorage(store.database), tmp_path, manifest.id)
        ).manifest == manifest
        return
    with pytest.raises(CatalogError, match=f"the manifest of snapshot {manifest.id} is damaged"):
        await load_snapshot(store.database, GridFsStorage(store.database), tmp_path, manifest.id)


@pytest.mark.parametrize(
    "change",
    [{"$unset": {"data": ""}}, {"$set": {"data": "text"}}, {"$set": {"n": "first"}}, {"$set": {"n": 7}}],
    ids=str,
)
async def test_a_damaged_file_of_a_snapshot_is_named(
    store: ProductStore, tmp_path: Path, change: dict[str, Any]
) -> None:
    manifest = await build_snapshot(store, ColourEncoder(), PREPROCESSOR, tmp_path)
    await save_snapshot(store.database, GridFsStorage(store.database), manifest, tmp_path)
    await store.database["snapshots.chunks"].update_many({}, change)
    with pytest.raises(CatalogError, match=f"of snapshot {manifest.id} is missing or damaged in MongoDB"):
        await load_snapshot(store.database, GridFsStorage(store.database), tmp_path / "cache", manifest.id)


async def test_an_attribute_has_one_value_in_the_file_the_store_the_list_and_the_event(
    store: ProductStore, tmp_path: Path
) -> None:
    attributes = {
        "ean": 2**60,
        "large": 2**53 + 1,
        "small": -1,
        "share": 0.1,
        "fresh": True,
        "none": None,
        "a.b": {"$c": [1]},
    }
    row = {"id": "c", "name": "Cherry", "image": "0.png", "attributes": attributes}
    (tmp_path / "products.csv").write_bytes(msgspec.json.encode(row))
    await import_again(store, tmp_path)
    product = (await store.get_many(["c"]))["c"]
    listed = msgspec.json.decode(msgspec.json.encode(product))["attributes"]
    info = ProductInfo("c", "Cherry", attributes=product.attributes)
    published = msgspec.json.decode(encode(replace(match_event(), product=info)))["product"]["attributes"]
    assert listed == published == attributes


async def test_the_list_shows_64_bit_numbers_and_names_a_product_that_cannot_be_read(
    store: ProductStore, mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.database.products.update_one({"_id": "a"}, {"$set": {"attributes": {"ean": Int64(2**60)}}})
    await store.database.products.update_one({"_id": "b"}, {"$unset": {"views": ""}})
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", store.database.name)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["list", "--json"])
    assert result.exit_code == 0
    [product] = map(msgspec.json.decode, result.stdout.splitlines())
    assert product["attributes"] == {"ean": 2**60}
    assert "product_unreadable" in result.stderr
    assert "views is missing or null" in result.stderr
