"""JSON lines, and JSON documents of any shape: arrays, lists within objects, one object, and what is cut or bad."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.files import json_document, lines_of_text
from framematch.catalog.importing.files.json_document import json_records
from framematch.catalog.importing.files.json_text import JsonText
from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError
from tests.unit.catalog.importing.source_files import fields, opened, outline, records

APPLE: dict[str, Any] = {"id": "1", "name": "Apple", "images": ["a.jpg"]}
PEAR: dict[str, Any] = {"id": "2", "name": 'Birne\n{["\\', "stock": {"shelf": [1, 2.5, None, True]}}
BOTH = [APPLE, PEAR]


def defect(file: str) -> Defect:
    """The last record of a file, which is a defect."""
    content = records(file)[-1].content
    assert isinstance(content, Defect), content
    return content


@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n"])
def test_json_lines_are_read_with_their_lines(start: str) -> None:
    text = start + "".join(json.dumps(product) + "\n" for product in BOTH) + "\n"
    with opened(text) as source:
        assert (source.format, source.numbered_by) == ("JSON lines", "line")
        assert source.columns == ("id", "name", "images", "stock")
        first = 1 + start.count("\n")
        contents = [APPLE, PEAR, None]
        assert list(source.records) == [Record(n, n, c) for n, c in enumerate(contents, first)]


@pytest.mark.parametrize(
    ("text", "format_"),
    [
        (json.dumps(BOTH), "JSON"),
        (json.dumps(BOTH, indent=2), "JSON"),
        (json.dumps({"products": BOTH}), "JSON"),
        (json.dumps({"count": 2, "page": {"size": 10}, "Products": BOTH, "tags": [{"a": 1}], "next": None}), "JSON"),
        (json.dumps({"data": {"products": BOTH, "errors": []}, "extensions": {"cost": 1}}, indent=1), "JSON"),
        (json.dumps({"catalogue": BOTH}, indent="\t"), "JSON"),
        (json.dumps(APPLE, indent=2) + "\n" + json.dumps(PEAR, indent=2) + "\n", "JSON"),
        ("\n".join(map(json.dumps, BOTH)), "JSON lines"),
    ],
    ids=["array", "lines", "list", "beside others", "nested", "named otherwise", "objects in a row", "JSON lines"],
)
def test_the_same_products_are_read_from_all_shapes_of_json(text: str, format_: str) -> None:
    assert fields(text) == BOTH
    with opened(text) as source:
        assert source.format == format_


@pytest.mark.parametrize("indent", [None, 2])
def test_one_object_is_one_record(indent: int | None) -> None:
    product = {"id": "1", "title": "Shirt", "images": [{"src": "a.jpg"}], "variants": [{"sku": "x"}]}
    assert fields(json.dumps(product, indent=indent)) == [product]


def test_records_on_lines_of_their_own_have_these_lines_and_others_their_number() -> None:
    with opened(json.dumps(BOTH, indent=2)) as source:
        assert source.numbered_by == "line"
        assert [(record.line, record.last_line) for record in source.records] == [(2, 8), (9, 20)]
    with opened("\n" + json.dumps(BOTH)) as source:
        assert source.numbered_by == "record"
        assert [(record.line, record.last_line) for record in source.records] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_are_counted_with_any_line_end(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_of_text, "_PIECE_CHARACTERS", 3)
    with opened(json.dumps([{"id": 1}, {"id": 2}], indent=1).replace("\n", end)) as source:
        assert [(record.line, record.last_line) for record in source.records] == [(2, 4), (5, 7)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("[1]", "not a JSON object"),
        ("12", "not a JSON object"),
        ('{"id": NaN}', "not JSON: NaN is no JSON number"),
        ('{"id": 1, "id": 2}', "has the key 'id' twice"),
        ('{"id": 1, " id": 2}', "has the key 'id' twice"),
        ('{"id": 1,}', "not JSON: "),
        ('{"id" 1, "x": {"y": ["]"]}}', "not JSON: Expecting ':' delimiter at character 7"),
        ('{"id": "a\nb"}', "not JSON: Invalid control character at at character 10"),
        ("nonsense", "not JSON: Expecting value at character 1"),
        ('{"id": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON: it is nested too deeply"),
        ('{"id": ' + "9" * 5_000 + "}", "not JSON: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_a_bad_element_costs_no_other(bad: str, reason: str) -> None:
    first, second, third = records(f'[{{"id": "a"}},\n{bad},\n{{"id": "c"}}]')
    assert (first.content, third.content) == ({"id": "a"}, {"id": "c"})
    assert isinstance(second.content, Defect)
    assert second.content.kind is ProblemKind.NOT_JSON
    assert second.content.reason.startswith(reason[:30])
    assert second.content.raw == bad


@pytest.mark.parametrize("bad", ["[1]", "{", '{"id": NaN}', '{"id": 1, "id": 2}', '{"id": "2', "nonsense"])
def test_a_bad_json_line_costs_no_other(bad: str) -> None:
    assert outline(f'{{"id": "1"}}\n{bad}\n{{"id": "3"}}\n') == ["1", "?2", "3"]


@pytest.mark.parametrize("bad", ['{"id": "1}', '{"id": "1", "name": "App'])
def test_a_bad_first_json_line_costs_no_other(bad: str) -> None:
    assert outline(f'{bad}\n{{"id": "2"}}\n') == ["?1", "2"]


def test_a_long_json_line_is_one_defect() -> None:
    content = records(f'{{"id": "1"}}\n{{"id": "{"x" * 1_000_000}"}}\n')[1].content
    assert isinstance(content, Defect)
    assert content.kind is ProblemKind.TOO_LONG


def test_a_long_element_is_one_defect() -> None:
    long = '{"id": "' + "x" * 5_000_000 + '"}'
    assert outline(f'[{{"id": "1"}},\n{long},\n{{"id": "3"}}]') == ["1", "?2", "3"]


WHOLE = json.dumps({"products": BOTH, "next": None}, indent=1)


@pytest.mark.parametrize("kept", range(20, len(WHOLE)))
def test_a_file_that_is_cut_anywhere_is_not_taken_for_complete(kept: int) -> None:
    found = records(WHOLE[:kept])
    last = found[-1].content
    assert isinstance(last, Defect)
    assert last.kind is ProblemKind.CUT
    assert [record.content for record in found[:-1]] == BOTH[: len(found) - 1]


def test_a_cut_record_keeps_its_text() -> None:
    assert defect('[{"id": "1"},\n{"id": "2", "na') == Defect(
        ProblemKind.CUT, "the file cannot be read from here on: it ends in the middle", '{"id": "2", "na'
    )


def test_a_missing_comma_ends_the_reading_with_its_line() -> None:
    found = records('[{"id": "1"}\n{"id": "2"}]')
    assert (found[0].content, found[1].line) == ({"id": "1"}, 2)
    assert isinstance(found[1].content, Defect)
    assert found[1].content.reason == "the file cannot be read from here on: it is no JSON: '{' where ',' should be"


def test_bytes_that_are_no_text_cost_their_record_only() -> None:
    data = b'[{"id": "\xc3\xa9\xc3\xa9"},\n{"id": "\xff"},\n{"id": "c"}]'
    assert outline(data) == ["éé", "?2", "c"]


def test_empty_values_are_absent_and_others_keep_their_types() -> None:
    assert fields('[{" id ": "", "a": null, "b": 0, "c": false, "d": [], "e": 1.10, "f": " "}]') == [
        {"b": 0, "c": False, "d": [], "e": 1.1}
    ]


def test_a_list_behind_millions_of_characters_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "START_CHARACTERS", 5_000)
    monkeypatch.setattr(lines_of_text, "_PIECE_CHARACTERS", 1_000)
    products = [{"id": str(number), "name": "x" * 100} for number in range(1_000)]
    text = json.dumps({"shop": {"name": "y" * 100}, "tags": [{"t": 1}], "data": {"all": products}, "next": None})
    assert fields(text) == products


def test_a_large_array_is_read_in_little_memory() -> None:
    element = json.dumps({"id": "1", "text": "x" * 1_000})
    waiting = 0

    def pieces() -> Any:
        nonlocal waiting
        yield "["
        for _ in range(3_000):
            waiting += 1
            yield element + ","
        yield element + "]"

    read = 0
    for _record in json_records(JsonText(pieces()), ()):
        read += 1
        assert waiting - read < 10
    assert read == 3_001


def test_packed_json_is_read() -> None:
    assert fields(gzip.compress(json.dumps(BOTH).encode())) == BOTH


def test_an_array_of_nothing_has_no_records() -> None:
    assert records("[]") == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    products=st.lists(st.dictionaries(st.sampled_from(["id", "x", 'y"{']), JSON, min_size=1), min_size=1, max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    ascii_=st.booleans(),
)
def test_what_the_json_module_writes_is_read_as_it_was(
    products: list[dict[str, Any]], indent: int | None, ascii_: bool
) -> None:
    text = json.dumps(products, indent=indent, ensure_ascii=ascii_)
    expected = [
        {k: v for k, v in p.items() if v is not None and not (isinstance(v, str) and not v.strip())} for p in products
    ]
    if "\x00" not in text.partition("\n")[0]:
        assert fields(text) == expected


@given(st.text(alphabet='[]{}",:\\ 1a\n', max_size=40))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    try:
        found = records('[{"id": "1"},' + text)
    except CatalogError:
        return
    assert found[0].content == {"id": "1"}
