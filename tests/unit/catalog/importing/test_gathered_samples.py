"""The samples of all shops have the same products: what is gathered from them is the same too."""

from collections.abc import Iterator
from functools import partial

import pytest

from framematch.catalog.importing.files.open_file import open_source
from framematch.catalog.importing.files.source_file import ReadOptions
from framematch.catalog.importing.gathering.gather import gather
from framematch.catalog.importing.gathering.product_group import ProductGroup
from framematch.catalog.importing.gathering.row_spool import RowSpool
from framematch.catalog.importing.presets.find_header import find_header
from framematch.catalog.importing.presets.mapping import row_mapping
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from framematch.catalog.product import Product, Sku
from tests.unit.catalog.importing.gathered import look, products_of
from tests.unit.catalog.importing.mapped_rows import SAMPLES, column_styles

SHOPS_WITH_VARIANTS = [
    "own/products.csv",
    "shopify/products_now.csv",
    "shopify/products_2024.csv",
    "woocommerce/products.csv",
    "google_merchant/products.tsv",
    "amazon/products.txt",
    "magento/products.csv",
]
SHIRT_RED = "https://shop.example/p/shirt-red.png"


def sample_groups(path: str) -> Iterator[ProductGroup]:
    """The products of a sample file, in order; each row is in one of them."""
    with open_source(SAMPLES / path, ReadOptions(), partial(find_header, preset_name=None)) as source:
        mapping = row_mapping(source.columns, MappingOptions())
        records = [record for record in source.records if isinstance(record.content, dict)]
    styles = column_styles(mapping, records)
    with RowSpool() as spool:
        for record in records:
            spool.add(record, mapping.group_keys(record.content))  # type: ignore[arg-type]  # dicts, see above
        for rows in spool.groups():
            group = gather([mapping.source_row(row, styles) for row in rows], mapping.layout)
            assert isinstance(group, ProductGroup), group
            assert [place.line for place in group.places] == [row.line for row in rows]
            yield group


def sample_products(path: str) -> dict[str, Product]:
    return {product.id: product for group in sample_groups(path) for product in products_of(group)}


@pytest.mark.parametrize("path", SHOPS_WITH_VARIANTS)
def test_every_shops_export_gives_the_same_products_and_articles(path: str) -> None:
    products = sample_products(path)
    articles = {one.id: [sku.id for sku in one.skus or [Sku(one.id)]] for one in products.values()}
    assert articles == {
        "mug": ["mug"],
        "shirt-red-m": ["shirt-red-m", "shirt-red-l"],
        "shirt-blue-m": ["shirt-blue-m"],
        "socks": ["socks-s", "socks-l"],
        "bowl": ["bowl"],
        "tea": ["tea"],
        "lamp": ["lamp"],
    }


@pytest.mark.parametrize("path", SHOPS_WITH_VARIANTS)
def test_every_shops_export_gives_the_same_prices_and_pictures(path: str) -> None:
    products = sample_products(path)
    prices = {one.id: str(one.price) for one in products.values()}
    assert prices == {
        "mug": "12.50",
        "shirt-red-m": "39.90",
        "shirt-blue-m": "42.00",
        "socks": "9.00",
        "bowl": "18.00",
        "tea": "4.20",
        "lamp": "1234.50",
    }
    assert look(products["shirt-red-m"], [SHIRT_RED])
    assert {one.id: len(one.views) for one in products.values()} == {
        **dict.fromkeys(products, 1), "mug": 2, "bowl": 2
    }  # fmt: skip


@pytest.mark.parametrize("path", SHOPS_WITH_VARIANTS)
def test_the_red_shirt_of_every_shop_is_named_by_its_color(path: str) -> None:
    name = sample_products(path)["shirt-red-m"].name
    assert name.startswith("Linen shirt")
    assert "Red" in name
