"""Rows of the project's own table, of CSV cells and of JSON."""

import json
from decimal import Decimal
from typing import Any

import pytest

from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.mapping import parse_product, row_mapping
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.importing.values.guards import guarded
from framematch.catalog.importing.values.money import Money
from framematch.core.errors import CatalogError
from tests.unit.catalog.importing.mapped_rows import good, mapped, reason

APPLE = {"id": "1", "name": "Apple", "image": "a.jpg"}


def test_a_row_of_all_columns() -> None:
    fields = APPLE | {
        "category": "Fruit",
        "price": "0.55",
        "currency": "EUR",
        "description": "Red, sweet",
        "gtin": "40063813",
    }
    assert good(fields | {"gtin": "4006381333931", "sku": "A-1"}) == SourceRow(
        2,
        2,
        "product",
        id="1",
        sku="A-1",
        gtin="04006381333931",
        name="Apple",
        category="Fruit",
        description="Red, sweet",
        price=Money(Decimal("0.55"), "EUR"),
        images=("a.jpg",),
    )


def test_an_object_of_json_becomes_the_same_row() -> None:
    text = '{"id":1,"name":"Apple","price":0.55,"images":["a.jpg"]}'
    assert parse_product(json.loads(text)) == SourceRow(
        1, 1, "product", id="1", name="Apple", price=Money(Decimal("0.55")), images=("a.jpg",)
    )


def test_other_columns_become_attributes_and_empty_cells_are_absent() -> None:
    assert good(APPLE | {"Brand": "", "weight g": "150"}).attributes == {"weight g": "150"}


def test_attributes_of_json_keep_their_types() -> None:
    fields = {"organic": True, "sizes": [1, 2], "note": "", "attributes": {"brand": "B"}, "gone": None}
    assert parsed(APPLE | fields).attributes == {"organic": True, "sizes": [1, 2], "note": "", "brand": "B"}


def test_attributes_that_are_no_object_are_one_attribute() -> None:
    assert parsed(APPLE | {"attributes": [1]}).attributes == {"attributes": [1]}


def test_names_of_attributes_with_dots_and_dollars_stay_as_they_are() -> None:
    assert good(APPLE | {"a.b": "1", "$c": "2"}).attributes == {"a.b": "1", "$c": "2"}


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("a.jpg; b.jpg;a.jpg;", ("a.jpg", "b.jpg")),
        ("a.jpg|b.png", ("a.jpg", "b.png")),
        ("a.jpg, b.png", ("a.jpg", "b.png")),
        ("red, large.jpg", ("red, large.jpg",)),
        ("red|large", ("red|large",)),
        ('["a,b.jpg", "c.jpg"]', ("a,b.jpg", "c.jpg")),
        ("[draft].jpg", ("[draft].jpg",)),
    ],
)
def test_several_pictures_stand_in_a_cell(cell: str, names: tuple[str, ...]) -> None:
    assert good(APPLE | {"image": cell}).images == names


def test_both_columns_of_pictures_count() -> None:
    assert parsed(APPLE | {"images": ["b.jpg", "a.jpg"]}).images == ("a.jpg", "b.jpg")


def test_known_columns_are_recognised_in_any_case() -> None:
    assert good({"ID": "1", "Name": "Apple", "IMAGE": "a.jpg"}).name == "Apple"


def test_ids_that_look_the_same_are_the_same() -> None:
    assert good(APPLE | {"id": "a\u0308"}).id == good(APPLE | {"id": " \u00e4 "}).id == "\u00e4"


def test_rows_of_a_group_are_variants_with_their_own_pictures() -> None:
    row = good(APPLE | {"item_group_id": "shirt", "Color": "Red"})
    assert (row.role, row.id, row.sku) == ("variant", "shirt", "1")
    assert (row.images, row.own_images, row.options) == ((), ("a.jpg",), {"Color": "Red"})


def test_a_number_like_the_id_is_no_number_of_its_own() -> None:
    assert good(APPLE | {"sku": "1"}).sku is None


@pytest.mark.parametrize("zero", ["-0", "-0.0"])
def test_a_negative_zero_is_no_price(zero: str) -> None:
    assert reason(APPLE | {"price": zero}) == f"price '{zero}' is negative"


def test_text_of_our_exports_is_the_same_again() -> None:
    for text in ("=1+1", "'=1", "-5", "''@x", "'t Hart", "plain", "\uff1dx"):
        row = good({column: guarded(value) for column, value in (APPLE | {"name": text, "note": text}).items()})
        assert (row.name, row.attributes) == (text, {"note": text})


def test_json_has_no_guards() -> None:
    assert parsed(APPLE | {"name": "'=1", "id": "'123"}) == SourceRow(
        1, 1, "product", id="'123", name="'=1", images=("a.jpg",)
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_articles_in_one_cell_are_read_exactly(as_text: bool) -> None:  # a parameter of the test
    articles = [
        {"id": "s", "gtin": "04006381333931", "price": 1.5, "options": {"Size": "S"}},
        {"id": "m", "price": "2.345"},
    ]
    row = parsed(APPLE | {"currency": "EUR", "price": 1, "skus": json.dumps(articles) if as_text else articles})
    assert row.variants == (
        SourceRow(
            1,
            1,
            "variant",
            id="1",
            sku="s",
            gtin="04006381333931",
            price=Money(Decimal("1.5"), "EUR"),
            options={"Size": "S"},
        ),
        SourceRow(1, 1, "variant", id="1", sku="m", price=Money(Decimal("2.345"), "EUR")),
    )


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"id": ""}, "no id"),
        ({"name": ""}, "no name"),
        ({"image": ""}, "no image"),
        ({"image": ";"}, "no image"),
        ({"id": {}}, "id is not text"),
        ({"id": True}, "id is not text"),
        ({"id": 1.5}, "id is not text"),
        ({"images": [1]}, "images is neither a path nor a list of paths"),
        ({"price": True}, "price 'True' is not an amount such as 12.90"),
        ({"price": []}, "price '[]' is not an amount such as 12.90"),
        ({"price": "cheap"}, "price 'cheap' is not an amount such as 12.90"),
        ({"price": "1e999"}, "price '1e999' is in scientific notation; export it again as a plain number"),
        ({"Name": "B"}, "has the key 'name' twice"),
        ({"x": 1, "attributes": {"x": 2}}, "'x' is given twice, also in attributes"),
        ({"name": "\0"}, "name contains a NUL character"),
        ({"skus": "a,b"}, "skus is no list of articles"),
        ({"skus": [{"id": "s", "color": "Red"}]}, "skus has an article with other keys than gtin, id, options, price"),
        ({"skus": [{"price": 1}]}, "skus has an article without id"),
        ({"skus": [{"id": "s", "options": {"Size": 1}}]}, "the options of 's' in skus are no texts"),
        ({"skus": [{"id": "s", "gtin": "123"}]}, "the gtin of 's' in skus is no GTIN"),
    ],
    ids=str,
)
def test_a_bad_row_is_refused_with_its_reason(more: dict[str, Any], why: str) -> None:
    row = parse_product(APPLE | more)
    assert row == RowProblem(1, 1, ProblemKind.FIELD, why)


def test_a_defect_of_the_file_is_a_problem_of_the_row() -> None:
    record = Record(3, 4, Defect(ProblemKind.QUOTES, "a quote is not closed"))
    assert mapped(APPLE).source_row(record, {}) == RowProblem(3, 4, ProblemKind.QUOTES, "a quote is not closed")


def test_the_column_of_prices_says_what_a_comma_is() -> None:
    mapping = mapped([*APPLE, "price"])
    fields = APPLE | {"price": "4,204"}
    assert list(mapping.price_cells(fields)) == [("price", "4,204")]
    prices = [mapping.source_row(Record(2, 2, fields), {"price": sign}) for sign in (",", ".")]
    assert [row.price for row in prices if isinstance(row, SourceRow)] == [
        Money(Decimal("4.204")),
        Money(Decimal(4204)),
    ]


def test_the_stated_decimal_sign_wins() -> None:
    assert good(APPLE | {"price": "4,204"}, decimal=",").price == Money(Decimal("4.204"))


def test_a_price_without_currency_has_the_stated_one() -> None:
    assert good(APPLE | {"price": "4"}, currency="EUR").price == Money(Decimal(4), "EUR")
    assert good(APPLE | {"price": "4 USD"}, currency="EUR").price == Money(Decimal(4), "USD")


def test_a_header_that_names_a_field_twice_is_an_error() -> None:
    for columns in (["id", "name", "Name", "image"], ["id", "name", "name (2)", "image"]):
        with pytest.raises(CatalogError, match="the header names 'name' twice"):
            row_mapping(columns, MappingOptions())


def test_a_header_may_name_the_pictures_several_times() -> None:
    columns = {"id": "1", "title": "Mug", "image_link": "a.jpg", "image_link (2)": "b.jpg"}
    assert good(columns).images == ("a.jpg", "b.jpg")


def test_the_mapping_is_described_in_the_spelling_of_the_file() -> None:
    assert mapped(["ID", "Name", "Image", "brand"]).described() == (("id", "ID"), ("name", "Name"), ("images", "Image"))


def parsed(fields: dict[str, Any]) -> SourceRow:
    row = parse_product(fields)
    assert isinstance(row, SourceRow), row
    return row
