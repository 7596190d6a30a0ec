"""CSV as programs and people write it: delimiters, encodings, line ends, and quotes that do not match."""

import csv
import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.files.csv_header import read_header
from framematch.catalog.importing.files.csv_records import CsvReader
from framematch.catalog.importing.files.records import Lines
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.core.errors import CatalogError
from tests.unit.catalog.catalogue_files import SHORT, only, outline, parse, problem

APPLE = "1,Apple,a.jpg\n"
ROWS = "".join(f"{number},Product {number},{number}.jpg\n" for number in range(6_000))
QUOTED = "".join(f'"{number}","Product, {number}","{number}.jpg"\n' for number in range(6_000))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected_from_the_header(delimiter: str) -> None:
    draft = only((SHORT + APPLE).replace(",", delimiter))
    assert (draft.id, draft.name, draft.images) == ("1", "Apple", ("a.jpg",))


def test_the_delimiter_is_the_one_that_finds_the_columns() -> None:
    assert only('id;name;image;"a,b,c,d,e"\n1;Apple;a.jpg;x\n').attributes == {"a,b,c,d,e": "x"}


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n'])
def test_a_first_line_may_name_the_delimiter(first: str) -> None:
    assert only(first + "id;name;image\n1;Apple;a.jpg\n").line == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_encodings_that_a_file_names_are_read(encoding: str) -> None:
    assert only("id,name,image\n1,Äpfel,a.jpg\n".encode(encoding)).name == "Äpfel"


def test_a_utf_16_file_that_is_cut_within_a_character_costs_one_row() -> None:
    assert outline((SHORT + APPLE + "2,Pear,b.jpg").encode("utf-16")[:-1]) == ["1", "?3"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_any_line_end_is_accepted(end: str) -> None:
    rows = [mark for mark in outline(f"id,name,image{end}1,Apple,a.jpg{end}2,Pear,b.jpg") if "_" not in mark]
    assert rows == ["1", "2"]


@pytest.mark.parametrize("character", ["\u2028", "\x0b", "\x0c", "\x85"])
def test_what_only_looks_like_a_line_end_is_text(character: str) -> None:
    assert only(SHORT + f"1,App{character}le,a.jpg\n").name == f"App{character}le"


def test_a_quoted_cell_may_contain_line_ends_and_delimiters() -> None:
    assert only('id,name,image\n1,"Apple,\r\n\r\n""red""\n",a.jpg\n').name == 'Apple,\r\n\r\n"red"'


@pytest.mark.parametrize("rows", [ROWS, QUOTED], ids=["plain", "quoted"])
def test_an_unclosed_quote_costs_its_own_row_only(rows: str) -> None:
    lines = rows.splitlines(keepends=True)
    lines[3] = '3,"Product 3,3.jpg\n'
    found = parse(SHORT + "".join(lines))
    assert len(found) == 6_000
    assert [row for row in found if isinstance(row, RowProblem)] == [
        RowProblem(5, 5, ProblemKind.QUOTES, "a quote is not closed")
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ('1,"A,a.jpg\n2,"B,b.jpg\n3,C,c.jpg\n', ["?2", "?3", "3"]),
        ('1,"A,a.jpg\n2,B,b.jpg\n3,40" C,c.jpg\n4,40",d.jpg\n5,E,e.jpg\n', ["?2", "2", "3", "4", "5"]),
        ('1,"A,a.jpg\n2,B\n3,40",c.jpg\n', ["?2", "?3", "3"]),
        ('1,"A,a.jpg\n2,"B\nb",b.jpg\n3,C,c.jpg\n', ["?2", "2", "3"]),
        ('1,A,a.jpg"\n2,B,b.jpg\n', ["1", "2"]),
        ('1,"A" x,a.jpg\n2\n3,C,c.jpg\n', ["?2", "?3", "3"]),
        ('1,"A said "x"\nmore\nend",a.jpg\n2,B,b.jpg\n', ["?2-4", "2"]),
        ('1,"A said "x"\nmore, and, more",a.jpg\n2,"B\n",b.jpg\n', ["?2", "?3", "2"]),
        ('1,"A\nlong\ntext"\n2,B,b.jpg\n', ["?2-4", "2"]),
        ('1,A,a.jpg\n2,"B', ["1", "?3"]),
        ('"', ["?2"]),
    ],
)
def test_reading_goes_on_behind_a_row_whose_quotes_do_not_match(rows: str, expected: list[str]) -> None:
    assert outline(SHORT + rows) == expected


def test_a_quoted_cell_that_swallows_whole_rows_names_its_lines() -> None:
    first = parse(SHORT + '1,"A,a.jpg\n2,B,b.jpg\n3,40",c.jpg\n')[0]
    assert first == RowProblem(2, 2, ProblemKind.QUOTES, "a quote is not closed before line 4")


@pytest.mark.parametrize(
    "text", ['1,Apple,a.jpg,"Red,\nsweet"\n', '1,"Red,\nsweet",a.jpg,x\n', '1,Apple,"a.jpg\n",x\n']
)
def test_a_row_of_several_lines_is_one_row(text: str) -> None:
    assert outline("id,name,image,x\n" + text) == ["1"]


def test_an_unclosed_quote_in_a_huge_file_is_noticed_before_its_end() -> None:
    row = ',"' + "x" * 1_000
    lines = [SHORT, f"1{row}\n", *(f"{number},{'x' * 1_000},a.jpg\n" for number in range(2, 1_000))]
    taken = 0

    def count(line: str) -> str:
        nonlocal taken
        taken += 1
        return line

    source = Lines(map(count, lines))
    records = CsvReader(source, read_header(source)).records()
    assert next(records).content is not None
    assert taken < 200


@pytest.mark.parametrize(
    ("header", "message", "hint"),
    [
        ("id,name,img", "no column 'image'", "names 'id', 'name', 'img' (separated by comma). Rename 'img' to 'image'"),
        ("id;name;Image URL", "no column 'image'", "(separated by semicolon). Rename 'Image URL' to 'image'"),
        ("product_id,name,image", "no column 'id'", "Rename 'product_id' to 'id'"),
        ("id,title,image", "no column 'name'", "Give a column the name 'name'"),
        ("id/name/image", "no column 'id' and no 'name' and no 'image'", "The first line names 'id/name/image'. "),
        ("id,name," + ",".join(map(str, range(5_000))), "no column 'image'", "and 4982 more (separated by comma)"),
    ],
    ids=lambda text: text[:30],
)
def test_a_missing_column_is_reported_with_those_that_were_found(header: str, message: str, hint: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse(header + "\n")
    assert caught.value.message == f"the header has {message}"
    assert hint in caught.value.hint
    assert "CSV (UTF-8)" not in caught.value.hint


def test_thousands_of_columns_become_attributes() -> None:
    header = SHORT.strip() + "".join(f",c{number}" for number in range(5_000))
    assert len(only(f"{header}\n1,Apple,a.jpg{',x' * 5_000}\n").attributes) == 5_000


def test_a_cell_without_a_column_name_is_ignored() -> None:
    assert only(",id,name,image\n0,1,Apple,a.jpg\n").attributes == {}


def test_a_huge_cell_is_one_problem_and_the_rest_is_read() -> None:
    file = (SHORT + "1,").encode() + b"x" * 5_000_000 + b",a.jpg\n2,Pear,b.jpg\n"
    assert outline(file) == ["?2", "2"]


CELLS = st.text(alphabet='ab",\n\r;', max_size=6)


@given(st.lists(CELLS, max_size=30))
def test_whatever_the_quotes_every_line_is_read_once(pieces: list[str]) -> None:
    rows = parse(SHORT + "\n".join(pieces))
    for row, following in pairwise(rows):
        assert row.last_line + 1 == following.line


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=10))
def test_what_the_csv_module_writes_is_read_as_it_was(cells: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("id", "name", "image", "x", "y"))
    writer.writerows((number, "Apple", "a.jpg", *pair) for number, pair in enumerate(cells))
    found = parse(text.getvalue())
    assert [getattr(row, "attributes", None) for row in found] == [
        {name: cell.strip() for name, cell in zip("xy", pair, strict=True) if cell.strip()} for pair in cells
    ]


def test_a_problem_names_its_lines() -> None:
    assert problem(SHORT + "1,A\n").place == "line 2"
    assert problem(SHORT + '1,"A\nlong\ntext"\n').place == "lines 2 to 4"
