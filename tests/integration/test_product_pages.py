"""Products are listed in pages and written conditionally, in a real MongoDB server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from framematch.catalog.mongo import Database
from framematch.catalog.product import StoredProduct, new_revision
from framematch.catalog.product_pages import ProductQuery, read_page, read_product
from framematch.catalog.product_writes import create_product, delete_product, replace_product
from framematch.catalog.products import Product, ProductStore
from framematch.core.errors import StaleProductError

pytestmark = pytest.mark.integration

NAMES = ["Äpfel, rot", "Apfelsaft 1,5 l", "Oat drink", "Rote Grütze (süß)", "a.b*c"]


@pytest.fixture
async def store(database: Database) -> ProductStore:
    """Products p0 to p4 with the names above; even ones are of the category `even`."""
    store = ProductStore(database)
    products = [Product(f"p{n}", name, None if n % 2 else "even") for n, name in enumerate(NAMES)]
    await store.upsert_many(products)
    return store


async def ids(store: ProductStore, query: ProductQuery = ProductQuery(), limit: int = 10) -> list[str]:  # noqa: B008  # frozen
    """The ids of all pages, read one after the other."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await read_page(store, query, after=after, limit=limit)
        found += [one.product.id for one in page.products]
        after = page.next_after
    return found


async def seen(store: ProductStore, product_id: str) -> StoredProduct:
    """The product as somebody has read it."""
    found = await read_product(store, product_id)
    assert found is not None
    return found


async def test_pages_of_any_size_have_every_product_once_in_order(store: ProductStore) -> None:
    for limit in (1, 2, 5, 6):
        assert await ids(store, limit=limit) == ["p0", "p1", "p2", "p3", "p4"]


async def test_products_that_come_and_go_between_two_pages_repeat_and_hide_no_other(store: ProductStore) -> None:
    first = await read_page(store, ProductQuery(), limit=2)
    await store.delete_many(["p0", "p1"])
    await store.upsert_many([Product("a", "early"), Product("p2x", "later")])
    assert first.next_after == "p1"
    second = await read_page(store, ProductQuery(), after="p1", limit=10)
    assert [one.product.id for one in second.products] == ["p2", "p2x", "p3", "p4"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("äp", ["p0", "p1"]),
        ("ROT", ["p0", "p3"]),
        ("rot äpf", ["p0"]),
        ("saft", ["p1"]),
        ("apfel", ["p0", "p1"]),
        ("milk", []),
        ("(süss)", ["p3"]),
        ("grütze süß", ["p3"]),
        ("a.b*", ["p4"]),
        ("p1", ["p1"]),
        (" ", ["p0", "p1", "p2", "p3", "p4"]),
    ],
)
async def test_words_are_found_in_any_case_and_with_any_accents(
    store: ProductStore, words: str, found: list[str]
) -> None:
    assert await ids(store, ProductQuery(words=words)) == found


async def test_a_category_and_the_time_of_the_last_write_select_products(store: ProductStore) -> None:
    assert await ids(store, ProductQuery(category="even")) == ["p0", "p2", "p4"]
    before = (await seen(store, "p1")).updated_at
    assert before is not None
    await store.database.products.update_one({"_id": "p3"}, {"$set": {"updated_at": before + timedelta(seconds=1)}})
    assert await ids(store, ProductQuery(updated_after=before)) == ["p3"]
    assert await ids(store, ProductQuery(updated_after=datetime(2100, 1, 1, tzinfo=UTC))) == []


async def test_of_writers_that_have_seen_the_same_product_one_wins(store: ProductStore) -> None:
    before = await seen(store, "p0")
    changes = [new_revision(Product("p0", f"writer {n}")) for n in range(8)]
    results = await asyncio.gather(
        *(replace_product(store, before, change) for change in changes), return_exceptions=True
    )
    assert [type(result) for result in results].count(StaleProductError) == 7
    winner = changes[[result is None for result in results].index(True)]
    assert await seen(store, "p0") == winner


async def test_an_import_between_reading_and_writing_is_not_overwritten(store: ProductStore) -> None:
    before = await seen(store, "p0")
    await store.upsert_many([Product("p0", "imported")])
    with pytest.raises(StaleProductError, match="changed or deleted"):
        await replace_product(store, before, new_revision(Product("p0", "by hand")))
    with pytest.raises(StaleProductError):
        await delete_product(store, before)
    assert (await seen(store, "p0")).product.name == "imported"


async def test_a_product_is_created_once(store: ProductStore) -> None:
    version = await store.catalog_version()
    await create_product(store, new_revision(Product("new", "New")))
    assert await store.catalog_version() > version
    with pytest.raises(StaleProductError, match="already"):
        await create_product(store, new_revision(Product("new", "Newer")))


async def test_a_document_of_another_program_has_an_etag_and_can_be_replaced(store: ProductStore) -> None:
    await store.database.products.insert_one({"_id": "foreign", "name": "One", "views": []})
    first = await seen(store, "foreign")
    assert (first.revision, first.updated_at) == (None, None)
    await store.database.products.update_one({"_id": "foreign"}, {"$set": {"name": "Two"}})
    second = await seen(store, "foreign")
    assert first.etag != second.etag
    await replace_product(store, second, new_revision(Product("foreign", "Three")))
    with pytest.raises(StaleProductError):
        await replace_product(store, second, new_revision(Product("foreign", "Four")))


async def test_a_product_that_is_written_again_as_it_was_has_another_etag(store: ProductStore) -> None:
    before = await seen(store, "p0")
    await store.upsert_many([before.product])
    assert (await seen(store, "p0")).etag != before.etag
