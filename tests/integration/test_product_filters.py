"""Products that fit filters, in a real MongoDB."""

import pytest
from bson import Decimal128

from framematch.catalog.mongo import Database
from framematch.catalog.products import Product, ProductFilter, ProductStore

pytestmark = pytest.mark.integration


async def test_category_and_price_select_the_ids_whoever_wrote_the_price(database: Database) -> None:
    store = ProductStore(database)
    await store.upsert_many(
        [
            Product("cheap", "Cheap", "Apple", 0.5),
            Product("dear", "Dear", "Apple", 5.0),
            Product("free", "Free", "Apple"),
            Product("other", "Other", "Pear", 0.5),
        ]
    )
    await database.products.insert_one(
        {"_id": "text", "name": "Text", "category": "Apple", "price": "0.75", "views": []}
    )
    await database.products.insert_one(
        {"_id": "decimal", "name": "Decimal", "category": "Apple", "price": Decimal128("0.80"), "views": []}
    )
    await database.products.insert_one({"_id": 7, "name": "No text as id", "category": "Apple", "price": 0.5})
    found = await store.ids_of(ProductFilter("Apple", price_max=1))
    assert found == {"cheap", "text", "decimal"}
    assert await store.ids_of(ProductFilter("Apple", price_min=0.76)) == {"decimal", "dear"}
    assert await store.ids_of(ProductFilter("Pear")) == {"other"}
    assert await store.ids_of(ProductFilter("Nonesuch")) == frozenset()
    assert await store.ids_of(ProductFilter()) is None
