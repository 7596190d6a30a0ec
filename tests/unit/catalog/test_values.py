"""Values of documents, as other programs write them too."""

import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import CodecOptions, DatetimeConversion

from framematch.catalog.values import DocumentError, FieldReader, required_text, whole_number

ID = ObjectId("0123456789abcdef01234567")
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
BSON = CodecOptions[Mapping[str, Any]](
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)


def read(name: str, value: Any) -> FieldReader:
    """A reader of a document with one field, as the driver returns it."""
    return FieldReader(bson.decode(bson.encode({name: value}), codec_options=BSON))


@pytest.mark.parametrize(
    ("value", "price"),
    [
        (1.49, "1.49"),
        (2, "2"),
        (Int64(2**40), str(2**40)),
        (Decimal128("1.490"), "1.490"),
        (Decimal128("1.234567890123456789012345678901234"), "1.234567890123456789012345678901234"),
        ("1.49", "1.49"),
        (" 1e2 ", "1E+2"),
        (-0.0, "0.0"),
        (None, None),
        ("", None),
    ],
)
def test_a_price_is_taken_from_any_kind_of_number(value: Any, price: str | None) -> None:
    reader = read("price", value)
    amount = reader.amount("price")
    assert (None if amount is None else str(amount), reader.problems) == (price, [])


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.01,
        math.nan,
        math.inf,
        -math.inf,
        Decimal128("NaN"),
        Decimal128("sNaN"),
        Decimal128("Infinity"),
        Decimal128("1E+400"),
        "1,49",
        "1_000",
        "nan",
        "inf",
        "٣",
        "cheap",
        "9" * 5_000,
        "1." + "3" * 34,
        True,
        [1.49],
        {"amount": 1.49},
        ID,
        datetime(2026, 1, 1, tzinfo=UTC),
        b"1.49",
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_price_is_left_out_and_named(value: Any) -> None:
    reader = read("price", value)
    assert reader.amount("price") is None
    [problem] = reader.problems
    assert problem.startswith("price is ")
    assert len(problem) < 150


@pytest.mark.parametrize(("value", "text"), [(" Milk ", "Milk"), (7, "7"), (Int64(2**60), str(2**60)), (None, None)])
def test_a_text_is_stripped_and_a_whole_number_is_one(value: Any, text: str | None) -> None:
    reader = read("name", value)
    assert (reader.text("name"), reader.problems) == (text, [])


@pytest.mark.parametrize("value", [["Milk"], {"en": "Milk"}, 1.5, True, ID, b"Milk", math.nan])
def test_what_is_no_text_is_left_out_and_named(value: Any) -> None:
    reader = read("category", value)
    assert reader.text("category") is None
    assert [problem[:12] for problem in reader.problems] == ["category is "]


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (True, True),
        (5, 5),
        (Int64(5), 5),
        (Int64(2**63 - 1), 2**63 - 1),
        (-(2**53) - 1, -(2**53) - 1),
        (0.1, 0.1),
        (5.0, 5.0),
        ("Ärger 🥛", "Ärger 🥛"),
        (Decimal128("1.10"), 1.1),
        (Decimal128("5"), 5),
        (Decimal128("9007199254740993"), 9007199254740993),
        (Decimal128("0.1234567890123456789"), "0.1234567890123456789"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC), "2026-01-31T12:00:00.250000Z"),
        (ID, str(ID)),
        (Binary.from_uuid(UUID), str(UUID)),
        (b"\x00\xff", "AP8="),
        (Binary(b"\x00\xff", 128), "AP8="),
        ([1, [Int64(2)], {"a": Int64(3)}], [1, [2], {"a": 3}]),
        ({"a.b": {"$c": [None]}}, {"a.b": {"$c": [None]}}),
        (DBRef("products", "a"), {"$ref": "products", "$id": "a"}),
        (Code("x"), "x"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_attribute_has_one_value_in_json(value: Any, same: Any) -> None:
    reader = read("attributes", {"a": value})
    found = reader.json_object("attributes")
    assert (found, reader.problems) == ({"a": same}, [])
    assert type(found["a"]) is type(same)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, Decimal128("NaN"), MinKey(), Regex("a"), Timestamp(1, 1), bson.DatetimeMS(2**62)],
    ids=lambda value: repr(value)[:30],
)
def test_an_attribute_that_json_has_not_is_null_and_named(value: Any) -> None:
    reader = read("attributes", {"good": 1, "bad": [value]})
    assert reader.json_object("attributes") == {"good": 1, "bad": [None]}
    assert [problem[:20] for problem in reader.problems] == ["attributes.bad[0] is"]


def test_an_attribute_nested_deeper_than_mongodb_allows_is_null() -> None:
    value: Any = 1
    for _ in range(500):
        value = [value]
    reader = FieldReader({"attributes": {"a": value}})
    reader.json_object("attributes")
    assert len(reader.problems) == 1


@pytest.mark.parametrize("value", ["shelf", [["shelf", 1]], 5])
def test_attributes_that_are_no_object_are_left_out_and_named(value: Any) -> None:
    reader = read("attributes", value)
    assert reader.json_object("attributes") == {}
    assert len(reader.problems) == 1


@pytest.mark.parametrize("value", [None, "5", -1, 1.5, math.nan, math.inf, True, [5], ID])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(DocumentError, match=r"version is .*, not a whole number from 0 on"):
        whole_number({"version": value}, "version")


@pytest.mark.parametrize("value", [5, 5.0, Int64(5)])
def test_a_whole_number_may_have_any_type(value: Any) -> None:
    found = whole_number({"version": value}, "version")
    assert (found, type(found)) == (5, int)


@pytest.mark.parametrize("value", [None, "", 5, ID, b"a", ["a"]])
def test_a_required_text_is_a_text(value: Any) -> None:
    with pytest.raises(DocumentError, match="_id is"):
        required_text({"_id": value}, "_id")
