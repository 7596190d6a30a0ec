"""Catalogue files, row by row."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.importing.rows import ProductDraft, similar_ids
from framematch.core.errors import CatalogError
from tests.unit.catalog.catalogue_files import HEADER, SHORT, only, outline, parse, problem


def test_a_csv_row_becomes_a_draft() -> None:
    assert only(HEADER + 'a-1,Apple,Fruit,0.55,"Red, sweet",a.jpg\n') == ProductDraft(
        2, 2, "a-1", "Apple", "Fruit", Decimal("0.55"), "Red, sweet", {}, ("a.jpg",)
    )


def test_a_json_line_becomes_the_same_draft() -> None:
    line = '{"id":"a-1","name":"Apple","category":"Fruit","price":0.55,"description":"Red, sweet","images":["a.jpg"]}'
    assert only(line) == ProductDraft(1, 1, "a-1", "Apple", "Fruit", Decimal("0.55"), "Red, sweet", {}, ("a.jpg",))


def test_other_columns_become_attributes_and_empty_cells_are_absent() -> None:
    draft = only("id,name,image,Brand,weight g\n1,Apple,a.jpg,,150\n")
    assert draft.attributes == {"weight g": "150"}


def test_attributes_of_json_keep_their_types() -> None:
    draft = only('{"id":1,"name":"A","image":"a.jpg","organic":true,"sizes":[1,2],"attributes":{"brand":"B"}}')
    assert draft.attributes == {"organic": True, "sizes": [1, 2], "brand": "B"}


def test_several_images_are_separated_by_semicolons_and_named_once() -> None:
    assert only(HEADER + "1,Apple,,,,a.jpg; b.jpg;a.jpg;\n").images == ("a.jpg", "b.jpg")


def test_known_columns_are_recognised_in_any_case() -> None:
    assert only("ID,Name,Image\n1,Apple,a.jpg\n").name == "Apple"


def test_a_problem_names_the_line_where_its_row_starts() -> None:
    rows = parse(HEADER + '1,"Apple\nof two lines",,,,a.jpg\n2,Pear,,cheap,,b.jpg\n')
    assert [(row.line, row.last_line) for row in rows] == [(2, 3), (4, 4)]
    assert rows[1] == RowProblem(4, 4, ProblemKind.FIELD, "price 'cheap' is not an amount such as 12.90")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",Apple,,,,a.jpg", "no id"),
        ("  ,Apple,,,,a.jpg", "no id"),
        ("1,,,,,a.jpg", "no name"),
        ("1,Apple,,,,", "no image"),
        ("1,Apple,,,,;", "no image"),
        ('1,Apple,,"1,99",,a.jpg', "price '1,99' is not an amount such as 12.90"),
        ("1,Apple,,-1,,a.jpg", "price '-1' is not an amount such as 12.90"),
        ("1,Apple,,nan,,a.jpg", "price 'nan' is not an amount such as 12.90"),
        ("1,Apple,,1e999,,a.jpg", "price '1e999' is not an amount such as 12.90"),
        ("1,Apple,,1_000,,a.jpg", "price '1_000' is not an amount such as 12.90"),
        ("1,Apple,,€ 1.99,,a.jpg", "price '€ 1.99' is not an amount such as 12.90"),
        ("1,Apple,,,a.jpg", "has 5 cells, the header 6"),
        ("1,Apple,,,,a.jpg,b", "has 7 cells, the header 6"),
        ('1,"Apple" pie,,,,a.jpg', "text follows a closing quote"),
        ('1,"Apple \\"pie\\"",,,,a.jpg', 'has \\" where CSV writes ""'),
        ('1,"Apple,,,,a.jpg', "a quote is not closed"),
        ("1,App\0le,,,,a.jpg", "name contains a NUL character"),
        ("1,Apple,,,,a.jpg" + "x" * 200_000, "a cell has more than 131,072 characters"),
        ("1,Apple" + "," * 1_000_000, "the line has more than 1,000,000 characters"),
    ],
    ids=lambda text: text[:40],
)
def test_a_bad_csv_row_is_a_problem_with_its_reason(row: str, reason: str) -> None:
    found = problem(HEADER + row + "\n")
    assert (found.line, found.last_line, found.reason) == (2, 2, reason)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"name":"A","image":"a"}', "no id"),
        ('{"id":{},"name":"A","image":"a"}', "id is not text"),
        ('{"id":true,"name":"A","image":"a"}', "id is not text"),
        ('{"id":1,"name":"A"}', "no image"),
        ('{"id":1,"name":"A","images":[1]}', "image is neither a path nor a list of paths"),
        ('{"id":1,"name":"A","image":"a","price":true}', "price True is not an amount such as 12.90"),
        ('{"id":1,"name":"A","image":"a","price":[]}', "price [] is not an amount such as 12.90"),
        ('{"id":1,"name":"A","image":"a","x":1,"x":2}', "has the key 'x' twice"),
        ('{"id":1,"name":"A","Name":"B","image":"a"}', "has the key 'name' twice"),
        ('{"id":1,"name":"A","image":"a","x":{"y":1,"y":2}}', "has the key 'y' twice"),
        ('{"id":1,"name":"A","image":"a","x":1,"attributes":{"x":2}}', "'x' is given twice, also in attributes"),
        ('{"id":1,"name":"A","image":"a","x":NaN}', "not JSON: NaN is no JSON number"),
        ('{"id":1,"name":"A","image":"a"', "not JSON: Expecting ',' delimiter at character 31"),
        ('{"a":' * 100_000, "not JSON: it is nested too deeply"),
        ('{"id":' + "9" * 5_000 + ',"name":"A","image":"a"}', "not JSON: Exceeds the limit (4300 digits)"),
        ('{"id":1,"name":"\\u0000","image":"a"}', "name contains a NUL character"),
        ('{"id":1,"name":"' + "x" * 1_000_000 + '","image":"a"}', "the line has more than 1,000,000 characters"),
    ],
    ids=lambda text: text[:60],
)
def test_a_bad_json_row_is_a_problem_with_its_reason(row: str, reason: str) -> None:
    found = problem(row + "\n")
    assert found.line == 1
    assert found.reason.startswith(reason)


def test_a_line_that_is_no_json_object_is_a_problem_and_the_rest_is_parsed() -> None:
    good = '{"id":1,"name":"A","image":"a"}\n'
    assert outline(good + "{oops\n\n" + "[1]\n" + good.replace("1", "2")) == ["1", "?2", "_3", "?4", "2"]


@pytest.mark.parametrize("again", ["1", " 1 ", '"1"'])
def test_the_second_row_of_an_id_is_a_problem_that_names_the_first(again: str) -> None:
    rows = parse(SHORT + f"1,Apple,a.jpg\n{again},Pear,b.jpg\n")
    assert rows[1] == RowProblem(3, 3, ProblemKind.DUPLICATE, "duplicate id '1', first on line 2")


def test_ids_that_look_the_same_are_the_same() -> None:
    assert outline(SHORT + "\u00e4,Apple,a.jpg\na\u0308,Pear,b.jpg\n") == ["\u00e4", "?3"]


def test_ids_that_differ_in_case_or_spaces_are_found() -> None:
    assert similar_ids(["A1", "b 2", "a1", "b  2", "c"]) == (("A1", "a1"), ("b 2", "b  2"))


@pytest.mark.parametrize("row", ["", "  ", ",,", " , ,\t"])
def test_rows_without_content_are_blank_lines(row: str) -> None:
    assert outline(SHORT + f"{row}\n1,Apple,a.jpg\n") == ["_2", "1"]


def test_delimiters_too_many_at_the_end_of_a_row_are_ignored() -> None:
    assert outline(SHORT + "1,Apple,a.jpg,, \n") == ["1"]


def test_a_row_that_is_not_utf_8_is_a_problem_that_says_where_and_the_rest_is_parsed() -> None:
    rows = parse(HEADER.encode() + b"1,\xc4pfel,,,,a.jpg\n2,Pear,,,,b.jpg\n")
    reason = "name is not UTF-8 text; as Windows-1252 it reads 'Äpfel'"
    assert rows[0] == RowProblem(2, 2, ProblemKind.NOT_TEXT, reason)
    assert isinstance(rows[1], ProductDraft)


@pytest.mark.parametrize("zero", ["-0", "-0.0", "0"])
def test_a_price_of_nothing_has_no_sign(zero: str) -> None:
    assert str(only(HEADER + f"1,Apple,,{zero},,a.jpg\n").price) == zero.removeprefix("-")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"name,image\n1,2\n", "the header has no column 'id'"),
        (b"id\n1\n", "the header has no column 'name' and no 'image'"),
        (b"id,name,image,name\n", "the header names 'name' twice"),
        (b'[{"id":1}]', "the file is one JSON array"),
        (b"\n \n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b'\n[{"id":1}', "the file is one JSON array"),
        (b'{\n"id":1}', "the file has JSON objects on several lines"),
        (b'id,"name,image\n1,A,a.jpg\n', "a quote of the header is not closed"),
        (b"id,name,image,n\xe4me\n", "the file is not UTF-8 text"),
        ("id,name,image\n".encode("utf-16-le"), "the file is not UTF-8 text"),
        (b"PK\x03\x04\x14", "the file is an Excel workbook (xlsx) or a ZIP archive"),
        (b"\x1f\x8b\x08", "the file is compressed with gzip"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_catalogue_is_one_error(data: bytes, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse(data)
    assert caught.value.message == message
    assert caught.value.hint


@given(st.binary(max_size=200), st.sampled_from([b"", HEADER.encode(), b'{"id":1,"name":"A","image":"a"}\n']))
def test_any_bytes_give_rows_that_contain_all_lines_in_order_or_one_error(data: bytes, start: bytes) -> None:
    try:
        rows = parse(start + data)
    except CatalogError:
        return
    for row, following in pairwise(rows):
        assert row.last_line + 1 == following.line
