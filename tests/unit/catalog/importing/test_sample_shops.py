"""One imaginary shop in the format of each preset: all of them say the same."""

from decimal import Decimal

import pytest

from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from tests.unit.catalog.importing.mapped_rows import sample_groups, sample_rows

NAMES = {
    "mug": 'Mug "Blue Dot", 0.3 l',
    "shirt": "Linen shirt",
    "socks": "Wool socks",
    "bowl": "Your Cat's Hydration Bowl",
    "tea": "Tee München",
    "lamp": "Desk lamp",
}
PRICES = {
    "mug": "12.50",
    "shirt-red-m": "39.90",
    "shirt-red-l": "39.90",
    "shirt-blue-m": "42.00",
    "socks-s": "9.00",
    "socks-l": "9.00",
    "bowl": "18.00",
    "tea": "4.20",
    "lamp": "1234.50",
}
PICTURES = {
    "mug": {"mug-1.png", "mug-2.png"},
    "shirt": {"shirt.png", "shirt-red.png", "shirt-blue.png"},
    "socks": {"socks.png"},
    "bowl": {"bowl.png", "bowl-top.png"},
    "tea": {"tea.png"},
    "lamp": {"lamp.png"},
}
GTINS = {"mug": "04006381333931", "tea": "00711719814153", "shirt-red-m": "04012345678901"}
ENGLISH = MappingOptions(locale="en_US", channel="ecommerce", currency="EUR")

# The formats that know articles, prices and barcodes.
FULL = [
    "own/products.csv",
    "own/products.jsonl",
    "shopify/products_2024.csv",
    "shopify/products_now.csv",
    "woocommerce/products.csv",
    "google_merchant/products.tsv",
    "google_merchant/products_spaces.tsv",
    "google_merchant/feed.xml",
    "schema_org/products.jsonld",
    "magento/products.csv",
    "akeneo/products.csv",
    "amazon/products.txt",
]
# And those that have a row for a product or a picture.
ALL = [*FULL, "prestashop/products.csv", "google_product_search/products.csv"]


def groups_of(path: str) -> dict[str, list[SourceRow]]:
    """The rows of each product by its id; PrestaShop's ids are numbers, so there by its SKU."""
    groups = sample_groups(path, ENGLISH if path.startswith("akeneo") else None)
    by_sku = {rows[0].sku or product: rows for product, rows in groups.items()}
    return by_sku if path.startswith("prestashop") else groups


def rows_of(path: str) -> list[SourceRow]:
    return [row for rows in groups_of(path).values() for row in rows]


@pytest.mark.parametrize("path", ALL)
def test_every_format_has_the_same_products(path: str) -> None:
    names = {product: {row.name for row in rows if row.name} for product, rows in groups_of(path).items()}
    assert names.keys() == NAMES.keys()
    assert all(NAMES[product] in of_product for product, of_product in names.items())


@pytest.mark.parametrize("path", ALL)
def test_every_format_has_the_same_pictures(path: str) -> None:
    found = {
        product: {name.rpartition("/")[2] for row in rows for name in (*row.images, *row.own_images)}
        for product, rows in groups_of(path).items()
    }
    # A format with nothing but articles has no row for a picture of all of them.
    is_lacking = path.startswith("google_merchant") or path == "own/products.csv"
    assert found == PICTURES | ({"shirt": PICTURES["shirt"] - {"shirt.png"}} if is_lacking else {})


@pytest.mark.parametrize("path", FULL)
def test_every_format_has_the_same_prices(path: str) -> None:
    articles = {row.sku or row.id: row.price for row in rows_of(path) if row.price and not row.variants}
    assert {sku: price.amount for sku, price in articles.items() if price} == {
        sku: Decimal(price) for sku, price in PRICES.items()
    }


@pytest.mark.parametrize("path", FULL)
def test_every_format_has_the_same_options(path: str) -> None:
    rows = rows_of(path)
    names = {column: name for row in rows for column, name in row.option_names.items() if row.id == "shirt"}
    found: dict[str | None, dict[str, str]] = {row.sku or row.id: row.options for row in rows}
    for row in rows:
        found.update({str(sku): of_sku for sku, of_sku in row.options_by_sku.items()})
    options = {_plain_name(names.get(name, name)): value for name, value in found["shirt-blue-m"].items()}
    assert options == {"color": "Blue", "size": "M"}


@pytest.mark.parametrize("path", [path for path in ALL if "magento" not in path and "search" not in path])
def test_every_format_has_the_same_barcodes(path: str) -> None:
    found = {row.sku or row.id: row.gtin for row in rows_of(path) if row.gtin}
    has_articles = not path.startswith("prestashop")
    assert found == {sku: gtin for sku, gtin in GTINS.items() if has_articles or sku != "shirt-red-m"}


@pytest.mark.parametrize("path", [path for path in ALL if "magento" not in path and "search" not in path])
def test_a_number_of_the_shop_in_the_column_of_barcodes_refuses_no_row(path: str) -> None:
    (lamp,) = (row for row in rows_of(path) if "lamp" in (row.id, row.sku))
    assert lamp.gtin is None
    assert "2000012" in lamp.attributes.values()
    assert lamp.notices == ("barcodes that are no GTIN stay attributes",)


@pytest.mark.parametrize("path", [path for path in ALL if "search" not in path and "akeneo" not in path])
def test_the_first_category_has_its_levels_where_the_format_has_them(path: str) -> None:
    mug = groups_of(path)["mug"][0]
    wanted = {"prestashop": "Mugs", "amazon": "home"}.get(path.partition("/")[0], "Kitchen > Mugs")
    assert mug.category == wanted


@pytest.mark.parametrize("name", ["products.csv", "products.jsonl"])
def test_open_food_facts_has_a_picture_in_both_formats(name: str) -> None:
    _, rows = sample_rows(f"open_food_facts/{name}")
    folder = "https://images.openfoodfacts.org/images/products"
    assert [(row.id, row.gtin, row.images, row.category) for row in rows] == [
        ("4006381333931", "04006381333931", (f"{folder}/400/638/133/3931/front_de.4.400.jpg",), "Foods"),
        ("0711719814153", "00711719814153", (f"{folder}/071/171/981/4153/front_de.4.400.jpg",), "Foods"),
    ]


def _plain_name(option: str) -> str:
    return option.removesuffix("_name").lower()
