"""What an export has written is, read by the import, the same product."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framematch.catalog.exporting.csv_rows import COLUMNS, AttributeColumns, header_row, product_row
from framematch.catalog.exporting.json_lines import export_line
from framematch.catalog.importing.files.records import Record
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.cell_values import normal_id
from framematch.catalog.importing.presets.mapping import row_mapping
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from framematch.catalog.importing.values.money import Money
from framematch.catalog.product import Product, Sku, View

# What a document may have: no white space at its ends, and nothing that MongoDB refuses.
_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
_PLAIN = st.text(_CHARACTERS, max_size=12)
_ODD = st.sampled_from(
    [
        "=1+1", "'=1", "''-5", "'123", "-1", "+49 30", "@home", "\N{FULLWIDTH EQUALS SIGN}SUM", "Your Cat's", "'t Hart",
        'say "hi"', "a;b,c|d", "two\r\nlines",
    ]
)  # fmt: skip
VIEWS = (View("ab" * 32, 1, 1),)

_TEXTS = st.one_of(_PLAIN, _ODD).map(str.strip).filter(bool)
_IDS = _TEXTS.map(normal_id).filter(lambda text: bool(text) and "E+" not in text.upper())
_AMOUNTS = st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=6) | st.sampled_from(
    [Decimal("12.90"), Decimal("1.234"), Decimal("0.123456789012345"), Decimal(0), Decimal("1E+3"), Decimal("1E-7")]
)
_GTINS = st.none() | st.sampled_from(["04006381333931", "00737628064502", "07310865004703"])
_SKUS = st.builds(
    Sku, _IDS, _GTINS, st.none() | _AMOUNTS, st.dictionaries(_TEXTS, _TEXTS, max_size=2)
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(_CHARACTERS, max_size=8) | _ODD,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(_CHARACTERS, max_size=4), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
_NAMES = st.one_of(
    _TEXTS, st.sampled_from(["Brand", "brand", "Price", "SKU", "item_group_id", "attributes", "line", "Color", "g:id"])
)


@st.composite
def products(draw: st.DrawFn) -> Product:
    price, skus = draw(st.none() | _AMOUNTS), draw(st.lists(_SKUS, max_size=3, unique_by=lambda sku: sku.id))
    has_price = price is not None or any(sku.price is not None for sku in skus)
    digests = draw(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=3, unique=True))
    return Product(
        id=draw(_IDS),
        name=draw(_TEXTS),
        category=draw(st.none() | _TEXTS),
        price=price,
        description=draw(st.none() | _TEXTS),
        attributes=draw(st.dictionaries(_NAMES, _JSON, max_size=4)),
        views=tuple(View(f"{digest:064x}", 1, 1) for digest in digests),
        currency=draw(st.none() | st.just("EUR")) if has_price else None,
        skus=tuple(skus),
    )


def product_of(row: SourceRow) -> Product:
    """The product of a row, whose pictures are stored."""
    skus = tuple(Sku(one.sku or "", one.gtin, _amount(one.price), one.options) for one in row.variants)
    prices = [one for one in (row.price, *(sku.price for sku in row.variants)) if one is not None]
    return Product(
        row.id or "",
        row.name or "",
        row.category,
        _amount(row.price),
        row.description,
        row.attributes,
        tuple(View(image.removeprefix("sha256:"), 1, 1) for image in row.images),
        next((price.currency for price in prices), None),
        skus,
    )


def _amount(price: Money | None) -> Decimal | None:
    return None if price is None else price.amount


def read(columns: list[str], fields: dict[str, Any], *, is_csv: bool) -> Product:
    mapping = row_mapping(columns, MappingOptions(is_csv=is_csv))
    row = mapping.source_row(Record(2, 2, fields), {})
    assert isinstance(row, SourceRow), row
    assert row.role == "product"
    return product_of(row)


def from_csv(product: Product, *others: Product) -> Product:
    """The product as an import reads it in an export of this and the other ones."""
    columns = AttributeColumns()
    for one in (product, *others):
        columns.add(one.attributes)
    attributes = columns.chosen()
    text = (header_row(attributes) + product_row(product, attributes)).decode()
    header, cells = csv.reader(io.StringIO(text, newline=""))
    fields = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    return read(header, fields, is_csv=True)


@given(products())
@example(Product("1", "Your Cat's Hydration", attributes={"gid://shop/Product/7": "'t Hart"}, views=VIEWS))
def test_a_json_line_is_the_same_product(product: Product) -> None:
    fields = json.loads(export_line(product))
    assert read(list(fields), fields, is_csv=False) == product


@given(products(), products())
@example(
    Product("'-5", "=1+1", "@x", Decimal("1.234"), "+1", {"Brand": "a", "brand": "b"}, (View("ab", 1, 1),)),
    Product("a", "A"),
)
@example(Product("1", "A", attributes={"x": " a", "y": "", "z": "a\nb"}, views=VIEWS), Product("a", "A"))
def test_a_csv_row_is_the_same_product(product: Product, other: Product) -> None:
    assert from_csv(product, other) == product


def test_an_article_with_its_options_survives_a_csv_file() -> None:
    skus = (Sku("S-1", "04006381333931", Decimal("19.90"), {"Size": "M"}), Sku("S-2", options={"Size": "L"}))
    product = Product("shirt", "Shirt", views=VIEWS, currency="EUR", skus=skus)
    assert from_csv(product) == product


def test_columns_of_shops_among_the_attributes_do_not_make_it_the_table_of_that_shop() -> None:
    attributes = dict.fromkeys(
        ["Handle", "Title", "Body (HTML)", "Vendor", "Type", "Tags", "Published", "Regular price", "Images", "link"],
        "x",
    )
    product = Product("1", "A", attributes=attributes, views=VIEWS)
    assert from_csv(product) == product


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_is_computed_by_a_spreadsheet(text: str) -> None:
    product = Product(text, text, text, description=text, attributes={"note": text}, views=VIEWS)
    row = next(csv.reader(io.StringIO(product_row(product, ("note",)).decode())))
    assert [cell for cell in row if cell[:1] in tuple("=+-@\t\r")] == []
    assert row.count(f"'{text}") == 5


def test_attributes_get_columns_in_the_order_of_their_names_and_the_others_the_last_one() -> None:
    columns = AttributeColumns()
    attributes = {"b": "x", "a": "y", "n": 1, "Name": "taken", "=f": "formula"}
    columns.add(attributes)
    assert columns.chosen() == ("a", "b")
    row = next(csv.reader(io.StringIO(product_row(Product("1", "A", attributes=attributes), ("a", "b")).decode())))
    assert row[len(COLUMNS) :][:2] == ["y", "x"]
    assert json.loads(row[-1]) == {"n": 1, "Name": "taken", "=f": "formula"}
