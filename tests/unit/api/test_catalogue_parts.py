"""Small parts of the catalogue's routes: paths, entity tags, merge patches, progress."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.api.etags import Conditions, parse_tags
from framematch.api.guard.encoded_path import decoded_segment, segmented
from framematch.api.merge_patch import merge_patch
from framematch.api.operations.building import build_index
from framematch.api.operations.operation import Operation
from framematch.api.operations.process import to_error
from framematch.api.operations.work import InterruptedWorkError, ProgressMeter, Work
from framematch.api.problems import Problem
from framematch.api.schemas.products import ProductBody, product_id_problem
from framematch.catalog.exporting.json_lines import export_line
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.mapping import parse_product
from framematch.catalog.importing.values.money import Money
from framematch.catalog.mongo import Database
from framematch.catalog.product import Product, View
from framematch.catalog.search_text import in_any_case
from framematch.core.errors import AddressNotSetError, CatalogError
from framematch.core.settings import Settings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_a_path_keeps_its_segments_whatever_they_contain(segments: list[str]) -> None:
    sent = "/".join("".join(f"%{byte:02X}" for byte in segment.encode()) for segment in segments)
    seen = segmented(f"/v1/{sent}")
    assert [decoded_segment(segment) for segment in seen.split("/")] == ["", "v1", *segments]


def test_a_path_without_a_percent_sign_stays_as_it_is() -> None:
    assert segmented("/v1/snapshots/x:activate") == "/v1/snapshots/x:activate"


@given(JSON, JSON)
def test_a_merge_patch_leaves_no_null_and_done_twice_changes_nothing_more(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    if isinstance(patch, dict) and isinstance(once, dict):
        assert not {name for name, value in patch.items() if value is None} & once.keys()


@given(JSON, st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))
def test_a_merge_patch_keeps_what_it_does_not_name(target: Any, patch: dict[str, Any]) -> None:
    kept = target if isinstance(target, dict) else {}
    merged = merge_patch(target, patch)
    assert {name: merged[name] for name in kept.keys() - patch.keys()} == {
        name: kept[name] for name in kept.keys() - patch.keys()
    }


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # of RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_is_that_of_the_standard(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("match", "none_match", "etag", "is_met"),
    [
        (None, None, None, True),
        ('"a"', None, "a", True),
        ('"b", "a"', None, "a", True),
        ('"b"', None, "a", False),
        ('W/"a"', None, "a", False),
        ('"a"', None, None, False),
        ("*", None, "a", True),
        ("*", None, None, False),
        (None, "*", None, True),
        (None, "*", "a", False),
        (None, '"b"', "a", True),
    ],
)
def test_a_condition_is_met_or_refused_with_412(
    match: str | None, none_match: str | None, etag: str | None, is_met: bool
) -> None:
    conditions = Conditions(
        None if match is None else parse_tags("If-Match", match),
        None if none_match is None else parse_tags("If-None-Match", none_match),
    )
    if is_met:
        conditions.check(etag)
        return
    with pytest.raises(Problem) as caught:
        conditions.check(etag)
    assert caught.value.status == 412


@pytest.mark.parametrize("value", ["a", '"a', '"a" "b"', '"a"b"', ""])
def test_a_header_that_is_no_entity_tag_is_refused(value: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_tags("If-Match", value)
    assert caught.value.status == 400


@pytest.mark.parametrize("product_id", ["a/b", "a:b", "日本", "a..b", ".a", "x" * 1000])
def test_an_id_may_have_any_printable_characters(product_id: str) -> None:
    assert product_id_problem(product_id) == ""


def deep(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " "},
        {"name": "a\0b"},
        {"price": -1},
        {"price": "NaN"},
        {"attributes": {"a": float("nan")}},
        {"attributes": deep(60)},
        {"colour": "red"},
        {"reference_images": [{}] * 17},
    ],
)
def test_what_is_no_product_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ProductBody.model_validate({"name": "A"} | fields)


def test_texts_lose_white_space_around_them_and_empty_ones_are_absent() -> None:
    product = ProductBody.model_validate({"name": " A ", "category": " ", "description": " b "})
    assert (product.name, product.category, product.description) == ("A", None, "b")


def test_words_are_searched_in_any_case_without_options_of_a_server() -> None:
    assert in_any_case("äB1.ß") == r"[Ää][Bb]1\.ß"


def test_progress_says_the_rate_and_the_rest_once_it_knows_them() -> None:
    now_s = 10.0
    meter = ProgressMeter("rows", lambda: now_s)
    assert (meter.progress().total, meter.progress().rest_s) == (0, None)
    meter.report(100, 1000)  # what was done before
    assert meter.progress().rate is None
    now_s = 20.0
    meter.report(300, 1000)
    progress = meter.progress()
    assert (progress.done, progress.total, progress.unit, progress.rate, progress.rest_s) == (300, 1000, "rows", 20, 35)


def test_work_is_interrupted_at_its_next_step() -> None:
    meter = ProgressMeter()
    meter.report(1, 2)
    meter.interrupted = True
    with pytest.raises(InterruptedWorkError):
        meter.report(2, 2)


async def test_the_work_of_a_build_needs_the_address_of_triton() -> None:
    parameters = {"preprocessing": "fast", "model": None, "activate": True}
    operation = Operation("1", "build", "running", datetime.now(UTC), "test", parameters)
    with pytest.raises(AddressNotSetError, match=r"triton\.url"):
        await build_index(Work(Settings(), cast("Database", None), operation))


def test_an_error_of_the_work_is_the_problem_that_the_api_would_answer() -> None:
    error = to_error(ExceptionGroup("all", [CatalogError("the file is empty", hint="Fill it")]))
    assert (error.status, error.code, error.message, error.hint) == (
        409, "catalogue_unusable", "the file is empty", "Fill it",
    )  # fmt: skip
    bug = to_error(KeyError("mongodb://user:canary@host"))
    assert (bug.status, bug.code) == (500, "internal")
    assert "canary" not in bug.message + bug.hint


def test_an_export_line_is_the_row_of_an_import_with_the_same_product() -> None:
    product = Product(
        "a", "A", "c", Decimal("0.00"), "d", {"x": {"y": [1, None]}, "image": "no picture"}, (View("ab" * 32, 1, 1),)
    )
    row = parse_product(json.loads(export_line(product)))
    assert isinstance(row, SourceRow)
    assert (row.id, row.name, row.category, row.price, row.description, row.attributes, row.images) == (
        "a", "A", "c", Money(Decimal("0.00")), "d", product.attributes, ("sha256:" + "ab" * 32,),
    )  # fmt: skip
