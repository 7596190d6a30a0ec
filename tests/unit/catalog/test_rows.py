"""Catalogue files, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.rows import ProductDraft, RowProblem, parse_rows
from framematch.core.errors import CatalogError

HEADER = "id,name,category,price,description,image\n"


def parse(text: str | bytes) -> list[ProductDraft | RowProblem]:
    data = text.encode() if isinstance(text, str) else text
    return list(parse_rows(data.splitlines(keepends=True)))


def only(text: str | bytes) -> ProductDraft:
    (row,) = parse(text)
    assert isinstance(row, ProductDraft), row
    return row


def problem(text: str | bytes) -> RowProblem:
    (row,) = parse(text)
    assert isinstance(row, RowProblem), row
    return row


def test_a_csv_row_becomes_a_draft() -> None:
    assert only(HEADER + 'a-1,Apple,Fruit,0.55,"Red, sweet",a.jpg\n') == ProductDraft(
        2, "a-1", "Apple", "Fruit", 0.55, "Red, sweet", {}, ("a.jpg",)
    )


def test_a_json_line_becomes_the_same_draft() -> None:
    line = '{"id":"a-1","name":"Apple","category":"Fruit","price":0.55,"description":"Red, sweet","images":["a.jpg"]}'
    assert only(line) == ProductDraft(1, "a-1", "Apple", "Fruit", 0.55, "Red, sweet", {}, ("a.jpg",))


def test_other_columns_become_attributes_and_empty_cells_are_absent() -> None:
    draft = only("id,name,image,Brand,weight g\n1,Apple,a.jpg,,150\n")
    assert draft.attributes == {"weight g": "150"}


def test_attributes_of_json_keep_their_types() -> None:
    draft = only('{"id":1,"name":"A","image":"a.jpg","organic":true,"sizes":[1,2],"attributes":{"brand":"B"}}')
    assert draft.attributes == {"organic": True, "sizes": [1, 2], "brand": "B"}


def test_several_images_are_separated_by_semicolons_and_named_once() -> None:
    assert only(HEADER + "1,Apple,,,,a.jpg; b.jpg;a.jpg;\n").images == ("a.jpg", "b.jpg")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_detected_from_the_header(delimiter: str) -> None:
    draft = only("id,name,image\n1,Apple,a.jpg\n".replace(",", delimiter))
    assert (draft.id, draft.name, draft.images) == ("1", "Apple", ("a.jpg",))


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    assert only(b"\xef\xbb\xbfid,name,image\r\n1,\xc3\x84pfel,a.jpg\r\n").name == "Äpfel"


def test_known_columns_are_recognised_in_any_case() -> None:
    assert only("ID,Name,Image\n1,Apple,a.jpg\n").name == "Apple"


def test_a_problem_names_the_line_where_its_row_starts() -> None:
    rows = parse(HEADER + '1,"Apple\nof two lines",,,,a.jpg\n2,Pear,,cheap,,b.jpg\n')
    assert [row.line for row in rows] == [2, 4]
    assert rows[1] == RowProblem(4, "price 'cheap' is not an amount such as 12.90")


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
        ("1,Apple,,,a.jpg", "has 5 cells, the header 6"),
        ('1,"Apple" pie,,,,a.jpg', "not CSV: ',' expected after '\"'"),
        ('1,"Apple,,,,a.jpg', "not CSV: unexpected end of data"),
    ],
)
def test_a_bad_csv_row_is_a_problem_with_its_reason(row: str, reason: str) -> None:
    assert problem(HEADER + row + "\n") == RowProblem(2, reason)


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
    ],
)
def test_a_bad_json_row_is_a_problem_with_its_reason(row: str, reason: str) -> None:
    assert problem(row + "\n") == RowProblem(1, reason)


def test_a_line_that_is_no_json_object_is_a_problem_and_the_rest_is_parsed() -> None:
    good = '{"id":1,"name":"A","image":"a"}\n'
    rows = parse(good + "{oops\n\n" + "[1]\n" + good.replace("1", "2"))
    assert [type(row) for row in rows] == [ProductDraft, RowProblem, RowProblem, ProductDraft]
    assert [row.line for row in rows] == [1, 2, 4, 5]


def test_the_second_row_of_an_id_is_a_problem_that_names_the_first() -> None:
    rows = parse(HEADER + "1,Apple,,,,a.jpg\n1,Pear,,,,b.jpg\n")
    assert rows[1] == RowProblem(3, "duplicate id '1', first on line 2")


def test_a_row_that_is_not_utf_8_is_a_problem_and_the_rest_is_parsed() -> None:
    rows = parse(HEADER.encode() + b"1,\xc4pfel,,,,a.jpg\n2,Pear,,,,b.jpg\n")
    assert rows[0] == RowProblem(2, "not UTF-8 text: save the file as CSV (UTF-8)")
    assert isinstance(rows[1], ProductDraft)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"name,image\n1,2\n", "the header has no column 'id'"),
        (b"id\n1\n", "the header has no column 'name' and no 'image'"),
        (b"id,name,image,name\n", "the header names 'name' twice"),
        (b'[{"id":1}]', "the file is one JSON array"),
        ("id,name,image\n".encode("utf-16"), "the file is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_catalogue_is_one_error(data: bytes, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse(data)
    assert caught.value.message == message
    assert caught.value.hint


@given(st.binary(max_size=200), st.sampled_from([b"", HEADER.encode(), b'{"id":1,"name":"A","image":"a"}\n']))
def test_any_bytes_give_rows_in_order_or_one_error(data: bytes, start: bytes) -> None:
    try:
        lines = [row.line for row in parse(start + data)]
    except CatalogError:
        return
    assert lines == sorted(set(lines))
