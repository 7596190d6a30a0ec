"""Catalogue files are imported into a real MongoDB server."""

import asyncio
import gc
import hashlib
import os
import threading
import warnings
from decimal import Decimal
from pathlib import Path

import pytest

from framematch.catalog.importing.accounts import ImportReport
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.importing.pictures.picture_source import Respelling
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.mongo import Database, connect
from framematch.catalog.products import Product, ProductStore, View
from framematch.catalog.shared_pictures import SharedPictures
from framematch.core.errors import CatalogError, MongoUnavailableError, SettingsError, UsageError
from tests.unit.catalog.snapshots import picture

pytestmark = pytest.mark.integration

HEADER = "id,name,category,price,description,image,brand\n"


@pytest.fixture
def store(database: Database) -> ProductStore:
    return ProductStore(database)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


async def import_text(text: str, images: Path, store: ProductStore) -> ImportReport:
    path = images.parent / "products.csv"
    path.write_text(text, encoding="utf-8")
    return await import_products(path, ImportOptions(images=images), store)


async def test_a_row_becomes_a_product_with_its_images(store: ProductStore, images: Path) -> None:
    report = await import_text(HEADER + 'a,Apple,Fruit,0.5,"Red, sweet",0.png;1.png,Mill\n', images, store)
    assert report == ImportReport(read=1, added=1, changed=0, same=0, merged=0, refused=0)
    digests = [hashlib.sha256(picture(number)).hexdigest() for number in (0, 1)]
    views = tuple(View(digest, 24, 24) for digest in digests)
    expected = Product("a", "Apple", "Fruit", Decimal("0.5"), "Red, sweet", {"brand": "Mill"}, views)
    assert await store.get_many(["a", "none"]) == {"a": expected}
    assert await store.get_images(digests) == {digests[0]: picture(0), digests[1]: picture(1)}


async def test_importing_twice_changes_nothing(store: ProductStore, images: Path) -> None:
    text = HEADER + "a,Apple,,0.5,,0.png,\nb,Pear,,,,1.png,\n"
    await import_text(text, images, store)
    version, products = await store.catalog_version(), [product async for product in store.iterate()]
    report = await import_text(text, images, store)
    assert report == ImportReport(read=2, added=0, changed=0, same=2, merged=0, refused=0)
    assert await store.catalog_version() == version
    assert [product async for product in store.iterate()] == products


async def test_a_changed_row_replaces_its_product_and_increments_the_version(store: ProductStore, images: Path) -> None:
    await import_text(HEADER + "a,Apple,,0.5,,0.png,Mill\nb,Pear,,,,1.png,\n", images, store)
    version = await store.catalog_version()
    report = await import_text(HEADER + "a,Apple,,0.6,,0.png,\nb,Pear,,,,1.png,\nc,Plum,,,,2.png,\n", images, store)
    assert report == ImportReport(read=3, added=1, changed=1, same=1, merged=0, refused=0)
    apple = (await store.get_many(["a"]))["a"]
    assert (apple.price, apple.attributes) == (Decimal("0.6"), {})
    assert await store.catalog_version() > version


async def test_products_that_are_not_in_the_file_are_kept(store: ProductStore, images: Path) -> None:
    await import_text(HEADER + "a,Apple,,,,0.png,\n", images, store)
    await import_text(HEADER + "b,Pear,,,,1.png,\n", images, store)
    assert await store.count() == 2


async def test_bad_rows_are_reported_and_the_rest_is_imported(store: ProductStore, images: Path) -> None:
    (images / "text.png").write_bytes(b"hello")
    (images / "short.png").write_bytes(picture(0)[:60])
    rows = [
        "a,Apple,,,,0.png,",
        "b,Pear,,cheap,,0.png,",
        "c,Plum,,,,none.png,",
        "d,Kiwi,,,,0.png;text.png,",
        "e,Lime,,,,short.png,",
        "f,Mango,,,,../products.csv,",
        "a,Again,,,,0.png,",
        "g,Grape,,,,1.png,",
    ]
    report = await import_text(HEADER + "\n".join(rows) + "\n", images, store)
    assert (report.added, report.good) == (2, 2)
    reasons = {problem.line: problem.reason for problem in report.problems}
    assert list(reasons) == [2, 3, 4, 6, 7, 8]
    assert reasons[2] == "belongs to the product of line 8"
    assert reasons[3] == "price 'cheap' is not an amount such as 12.90"
    assert reasons[4] == "image 'none.png' not found"
    assert reasons[6].startswith("image 'short.png' is damaged")
    assert reasons[7] == "image '../products.csv' is outside the images folder"
    assert reasons[8] == "duplicate id 'a', first on line 2"
    assert [product.id async for product in store.iterate()] == ["d", "g"]


async def test_the_same_image_under_two_products_is_stored_once(store: ProductStore, images: Path) -> None:
    (images / "copy.png").write_bytes(picture(0))
    await import_text(HEADER + "a,Apple,,,,0.png,\nb,Pear,,,,copy.png;0.png,\n", images, store)
    assert await store.database.images.count_documents({}) == 1
    assert len((await store.get_many(["b"]))["b"].views) == 1


async def test_a_product_with_a_bad_picture_keeps_its_good_ones_and_is_refused_when_it_is_asked_for(
    store: ProductStore, images: Path
) -> None:
    path = images.parent / "products.csv"
    path.write_text(HEADER + "a,Apple,,,,0.png;none.png,\n", encoding="utf-8")
    strict = await import_products(path, ImportOptions(images=images, strict=True), store)
    assert (strict.added, [problem.reason for problem in strict.problems]) == (0, ["image 'none.png' not found"])
    report = await import_products(path, ImportOptions(images=images), store)
    assert (report.added, report.refused) == (1, 0)
    assert len((await store.get_many(["a"]))["a"].views) == 1
    assert [notice.examples for notice in report.notices] == [("line 2: image 'none.png' not found",)]


async def test_json_values_that_mongodb_cannot_store_are_reported(store: ProductStore, images: Path) -> None:
    lines = [
        '{"id":"a","name":"A","image":"0.png","a.b":{"$c":[1,2.5,null]}}',
        '{"id":"b","name":"B","image":"0.png","n":99999999999999999999}',
        '{"id":"c","name":"C","image":"0.png","t":"' + "x" * 300_000 + '"}',
        '{"id":"' + "d" * 1_001 + '","name":"D","image":"0.png"}',
    ]
    report = await import_text("\n".join(lines), images, store)
    assert (await store.get_many(["a"]))["a"].attributes == {"a.b": {"$c": [1, 2.5, None]}}
    assert [problem.line for problem in report.problems] == [2, 3, 4]
    assert report.problems[0].reason.startswith("cannot be stored in MongoDB")
    assert report.problems[1] == RowProblem(3, 3, ProblemKind.TOO_LONG, "has more than 256 kB of text")
    assert report.problems[2].reason == "its id has more than 1000 characters"


async def test_every_row_of_a_broken_file_is_counted_once(store: ProductStore, images: Path) -> None:
    rows = [f"p{number},Product {number},,,,{number % 3}.png,\n" for number in range(300)]
    rows[3] = 'p3,"Product 3,,,,0.png,\n'
    rows[100] = "\n,,,,,,\np100,Product,,1.99 €€,,1.png,\n"
    rows[200] = "p200,Product\n"
    report = await import_text(HEADER + "".join(rows), images, store)
    assert (report.read, report.added, report.refused, report.blank_lines) == (300, 297, 3, 2)
    assert [problem.line for problem in report.problems] == [5, 104, 204]
    assert await store.count() == 297


async def test_names_in_another_spelling_and_shared_pictures_are_reported(store: ProductStore, images: Path) -> None:
    report = await import_text(HEADER + "a,Apple,,,,0.PNG,\nb,Pear,,,,0.png,\nA,Plum,,,,1.png,\n", images, store)
    assert report.refused == 0
    assert (report.respelled, report.respellings) == (1, (Respelling("0.PNG", "0.png"),))
    assert report.shared == SharedPictures(2, 1, (("a", "b"),))
    assert report.similar_ids == (("a", "A"),)


async def test_a_file_that_grows_while_it_is_read_is_noticed(store: ProductStore, images: Path) -> None:
    path = images.parent / "products.csv"
    path.write_text(HEADER + "a,Apple,,,,0.png,\n", encoding="utf-8")

    def grow(_done: int, _total: int) -> None:
        with path.open("a") as file:
            file.write("b,Pear,,,,1.png,\n")

    assert (await import_products(path, ImportOptions(images=images), store, grow)).file_changed
    assert not (await import_products(path, ImportOptions(images=images), store)).file_changed


async def test_progress_counts_rows_first_those_that_are_read_and_then_those_that_are_stored(
    store: ProductStore, images: Path
) -> None:
    path = images.parent / "products.csv"
    path.write_text(HEADER + "".join(f"{number},P,,,,0.png,\n" for number in range(1_000)), encoding="utf-8")
    seen: list[tuple[int, int]] = []
    await import_products(path, ImportOptions(images=images), store, lambda done, total: seen.append((done, total)))
    reading = [done for done, total in seen if not total]
    storing = [done for done, total in seen if total]
    assert seen == [*((done, 0) for done in reading), *((done, 1_000) for done in storing)]
    assert (sorted(reading), reading[-1]) == (reading, 1_000)
    assert (sorted(storing), storing[0], storing[-1]) == (storing, 0, 1_000)


async def test_a_pipe_can_be_imported(store: ProductStore, images: Path) -> None:
    pipe = images.parent / "pipe"
    os.mkfifo(pipe)
    # Opening either end of a pipe waits for the other.
    writer = threading.Thread(target=pipe.write_text, args=(HEADER + "a,Apple,,,,0.png,\n",))
    writer.start()
    report = await import_products(pipe, ImportOptions(images=images), store)
    writer.join()
    assert report.added == 1


async def test_products_are_listed_by_category_in_the_order_of_their_ids(store: ProductStore, images: Path) -> None:
    await import_text(HEADER + "b,B,x,,,0.png,\na,A,x,,,0.png,\nc,C,y,,,0.png,\n", images, store)
    assert [product.id async for product in store.iterate(category="x")] == ["a", "b"]
    assert [product.id async for product in store.iterate(limit=2)] == ["a", "b"]
    assert await store.count(category="y") == 1


async def test_a_missing_file_or_folder_is_a_usage_error(store: ProductStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        await import_products(tmp_path / "none.csv", ImportOptions(images=tmp_path), store)
    (tmp_path / "products.csv").write_text(HEADER)
    with pytest.raises(UsageError, match="no folder"):
        await import_products(tmp_path / "products.csv", ImportOptions(images=tmp_path / "none"), store)


async def test_a_file_that_is_no_catalogue_is_one_error(store: ProductStore, images: Path) -> None:
    with pytest.raises(CatalogError, match="the columns are of no known table"):
        await import_text("sku,title\n1,2\n", images, store)


def test_an_unreachable_server_is_named_without_its_password(dead_address: str) -> None:
    with warnings.catch_warnings():
        # PyMongo 4.20 does not close the socket of a monitor that it cancels while connecting; it is collected here.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(MongoUnavailableError) as caught:
            asyncio.run(connect(f"mongodb://user:canary@{dead_address}", timeout_s=0.2))
        message, retriable = str(caught.value), caught.value.retriable
        del caught
        gc.collect()
    assert "canary" not in message
    assert "127.0.0.1" in message
    assert retriable


@pytest.mark.parametrize(
    "uri", ["http://user:canary@host", "mongodb://user:can/ary@host", "mongodb://user:canary@host:port"]
)
async def test_an_invalid_address_is_refused_without_quoting_it(uri: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await connect(uri, timeout_s=0.2)
    assert uri not in str(caught.value)
    assert "ary" not in str(caught.value)
    assert caught.value.exit_code == 2
