"""Products that fit filters, in a real MongoDB."""

from decimal import Decimal

import pytest
from bson import Decimal128

from framematch.catalog.mongo import Database
from framematch.catalog.products import Product, ProductFilter, ProductStore

pytestmark = pytest.mark.integration

ATTRIBUTES = {"brand": "Arla", "$where": "1", "tags": ["red", "new"], "size": 1.5}


async def test_category_and_price_select_the_ids_whoever_wrote_the_price(database: Database) -> None:
    store = ProductStore(database)
    await store.upsert_many(
        [
            Product("cheap", "Cheap", "Apple", Decimal("0.5")),
            Product("dear", "Dear", "Apple", Decimal(5)),
            Product(
                "free",
                "Free",
                "Apple",
                attributes=ATTRIBUTES,
            ),
            Product("other", "Other", "Pear", Decimal("0.5")),
        ]
    )
    for product_id, price in (("text", "0.75"), ("decimal", Decimal128("0.80"))):
        await database.products.insert_one(
            {"_id": product_id, "name": product_id, "category": "Apple", "price": price, "views": []}
        )
    await database.products.insert_one({"_id": 7, "name": "No text as id", "category": "Apple", "price": 0.5})
    assert await store.ids_of(ProductFilter("Apple", price_max=Decimal(1))) == frozenset({"cheap", "text", "decimal"})
    assert await store.ids_of(ProductFilter("Apple", price_min=Decimal("0.76"))) == frozenset({"decimal", "dear"})
    assert await store.ids_of(ProductFilter("Pear")) == frozenset({"other"})
    assert await store.ids_of(ProductFilter("Nonesuch")) == frozenset()
    for attributes in ([("brand", "Arla")], [("$where", "1")], [("tags", "new"), ("size", "1.5")]):
        assert await store.ids_of(ProductFilter(attributes=tuple(attributes))) == frozenset({"free"})
    assert await store.ids_of(ProductFilter(attributes=(("brand", "arla"),))) == frozenset()
    assert await store.ids_of(ProductFilter()) is None
