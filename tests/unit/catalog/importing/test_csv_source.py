"""CSV as programs and people write it: delimiters, headers, line ends, and quotes that do not match."""

import csv
import io
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.files.csv_rows import CsvRows
from framematch.catalog.importing.files.csv_table import CsvTable
from framematch.catalog.importing.files.records import Defect, Lines, Record
from framematch.catalog.importing.files.source_file import HeaderPlace
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError
from tests.unit.catalog.importing.source_files import SHORT, fields, first_row, opened, outline, records, row_with_id

APPLE = "1,Apple,a.jpg\n"
ROWS = "".join(f"{number},Product {number},{number}.jpg\n" for number in range(6_000))
QUOTED = "".join(f'"{number}","Product, {number}","{number}.jpg"\n' for number in range(6_000))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_with_a_constant_number_of_cells(delimiter: str) -> None:
    with opened((SHORT + APPLE).replace(",", delimiter), find_header=first_row) as source:
        assert (source.format, source.delimiter, source.columns) == ("CSV", delimiter, ("id", "name", "image"))
        assert [record.content for record in source.records] == [{"id": "1", "name": "Apple", "image": "a.jpg"}]


@pytest.mark.parametrize(
    "text",
    [
        'id;name;image;"a,b,c,d,e"\n1;Apple;a.jpg;x\n',
        "id;name;price\n" + "1;Apple;4,20\n" * 60,
        "id;name;price\n1;Apple;4,20\n2;Pear, red;4,20\n3;Plum\n" + "4;Kiwi;4,20\n" * 60,
        "id;images\n1;a.png,b.png\n2;a.png,b.png\n",
        "id;name;;;\n1;Apple\n2;Pear;;;\n",
    ],
    ids=["a name with commas", "decimal commas", "bad rows and decimal commas", "pictures by commas", "empty cells"],
)
def test_other_delimiters_in_the_texts_do_not_win(text: str) -> None:
    with opened(text, find_header=first_row) as source:
        assert source.delimiter == ";"


def test_a_delimiter_with_which_there_is_no_header_is_not_taken() -> None:
    with opened("id;a,b\n1;x,y\n2;x,y\n", find_header=row_with_id) as source:
        assert (source.delimiter, source.columns) == (";", ("id", "a,b"))


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n'])
def test_a_first_line_may_name_the_delimiter(first: str) -> None:
    found = records(first + "id;name,image\n1;Apple,a.jpg\n")
    assert found == [Record(3, 3, {"id": "1", "name,image": "Apple,a.jpg"})]


def test_the_header_may_be_behind_other_rows() -> None:
    lines = [
        "TemplateType=fptcustom\tVersion=2019",
        "SKU\tProduct name\tImage",
        "id\tname\timage",
        "1\tA\ta.jpg",
    ]
    with opened("\n".join(lines)) as source:
        assert source.columns == ("id", "name", "image")
        assert list(source.records) == [Record(4, 4, {"id": "1", "name": "A", "image": "a.jpg"})]


def test_a_file_may_have_no_header() -> None:
    def none(_rows: Sequence[Sequence[str]]) -> HeaderPlace:
        return HeaderPlace(None, ("uri", "id"))

    with opened("gs://a.jpg,1\ngs://b.jpg,2\n", find_header=none) as source:
        assert source.columns == ("uri", "id")
        assert [record.line for record in source.records] == [1, 2]


def test_a_file_whose_header_is_not_found_says_what_was_missing() -> None:
    with pytest.raises(CatalogError, match="no column 'id'"), opened("a,b\n1,2\n"):
        pass


def test_names_of_columns_keep_their_spelling_without_spaces_around_them() -> None:
    assert fields("ID, Regular price ,Größe\n1,2,3\n") == [{"ID": "1", "Regular price": "2", "Größe": "3"}]


def test_a_name_that_stands_twice_gets_a_number_and_a_notice() -> None:
    with opened("id,Color,Color,Color (2),,\n1,red,blue,green,x,y\n") as source:
        assert source.columns == ("id", "Color", "Color (3)", "Color (2)", "", "")
        assert source.repeated_columns == ("Color",)
        assert "'Color' 2 times" in source.notices[0]
        assert [record.content for record in source.records] == [
            {"id": "1", "Color": "red", "Color (3)": "blue", "Color (2)": "green"}
        ]


def test_empty_cells_are_absent_and_more_than_the_columns_are_accepted_if_empty() -> None:
    assert fields("id,name,image\n1, ,a.jpg\n2,Pear,b.jpg,,\n") == [
        {"id": "1", "image": "a.jpg"},
        {"id": "2", "name": "Pear", "image": "b.jpg"},
    ]


def test_a_row_with_other_cells_than_the_header_is_refused_also_if_the_missing_ones_may_be_empty() -> None:
    found = [record.content for record in records("id,name,image,note\n1,Apple,a.jpg\n2,Pear,b.jpg,x,y\n")]
    assert found == [
        Defect(ProblemKind.CELLS, "has 3 cells, the header 4", "1,Apple,a.jpg"),
        Defect(ProblemKind.CELLS, "has 5 cells, the header 4", "2,Pear,b.jpg,x,y"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_any_line_end_is_accepted(end: str) -> None:
    rows = [mark for mark in outline(f"id,name,image{end}1,Apple,a.jpg{end}2,Pear,b.jpg") if "_" not in mark]
    assert rows == ["1", "2"]


@pytest.mark.parametrize("character", ["\u2028", "\x0b", "\x0c", "\x85"])
def test_what_only_looks_like_a_line_end_is_text(character: str) -> None:
    assert fields(SHORT + f"1,App{character}le,a.jpg\n")[0]["name"] == f"App{character}le"


def test_a_quoted_cell_may_contain_line_ends_and_delimiters() -> None:
    assert fields('id,name,image\n1,"Apple,\r\n\r\n""red""\n",a.jpg\n')[0]["name"] == 'Apple,\r\n\r\n"red"'


def test_a_row_behind_quoted_line_ends_has_its_own_line() -> None:
    """As in openfoodnetwork PR#2842, where the error named a wrong line."""
    found = records('id,name,image\n1,"Apple\nred\n\nsweet",a.jpg\n2,Pear\n')
    assert [(record.line, record.last_line) for record in found] == [(2, 5), (6, 6)]


@pytest.mark.parametrize("rows", [ROWS, QUOTED], ids=["plain", "quoted"])
def test_an_unclosed_quote_costs_its_own_row_only(rows: str) -> None:
    lines = rows.splitlines(keepends=True)
    lines[3] = '3,"Product 3,3.jpg\n'
    found = records(SHORT + "".join(lines))
    assert len(found) == 6_000
    assert [record for record in found if isinstance(record.content, Defect)] == [
        Record(5, 5, Defect(ProblemKind.QUOTES, "a quote is not closed", '3,"Product 3,3.jpg'))
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


def test_cells_of_delimiters_and_line_ends_are_read_as_they_are() -> None:
    assert fields('"id","name","x","y","z"\n"0","A",",","\r,,",","\n')[0] == {
        "id": "0", "name": "A", "x": ",", "y": ",,", "z": ","
    }  # fmt: skip


def test_a_quoted_cell_that_swallows_whole_rows_is_refused_with_its_line() -> None:
    first = records(SHORT + '1,"A,a.jpg\n2,B,b.jpg\n3,40",c.jpg\n')[0]
    assert first == Record(2, 2, Defect(ProblemKind.QUOTES, "a quote is not closed before line 4", '1,"A,a.jpg'))


@pytest.mark.parametrize(
    "rows",
    [
        '1,Apple,"Red,\nsweet"\n',
        '1,"Red,\nsweet",a.jpg\n',
        '1,Apple,"Red\nsweet, juicy, good"\n2,Pear,x\n3,Kiwi,y\n',
        '1,Apple,"Red\nsweet, juicy, good"\n2,Pear,long text\n3,Kiwi,more text\n',
    ],
)
def test_a_row_of_several_lines_is_one_row(rows: str) -> None:
    assert [mark for mark in outline(SHORT + rows) if "?" in mark] == []


def test_the_raw_text_of_a_refused_row_has_all_of_its_lines() -> None:
    (record,) = records(SHORT + '1,"A\nlong\ntext"\n')
    assert isinstance(record.content, Defect)
    assert record.content.raw == '1,"A\nlong\ntext"'


def test_an_unclosed_quote_in_a_huge_file_is_noticed_before_its_end() -> None:
    lines = ['1,"' + "x" * 1_000 + "\n", *(f"{number},{'x' * 1_000},a.jpg\n" for number in range(2, 3_000))]
    taken = 0

    def count(line: str) -> str:
        nonlocal taken
        taken += 1
        return line

    rows = CsvRows(Lines(map(count, lines)), CsvTable(("id", "name", "image"), ","), "utf-8").records()
    assert isinstance(next(rows).content, Defect)
    assert taken < 1_100


def test_thousands_of_columns_are_read() -> None:
    header = SHORT.strip() + "".join(f",c{number}" for number in range(50_000))
    (row,) = fields(f"{header}\n1,Apple,a.jpg{',x' * 50_000}\n")
    assert len(row) == 50_003


def test_a_header_without_an_end_is_refused() -> None:
    with (
        pytest.raises(CatalogError, match="the first line has more than 1,000,000 characters"),
        opened("id," * 2_000_000),
    ):
        pass


def test_a_huge_cell_is_one_defect_and_the_rest_is_read() -> None:
    assert outline((SHORT + "1,").encode() + b"x" * 5_000_000 + b",a.jpg\n2,Pear,b.jpg\n") == ["?2", "2"]


def test_a_cell_without_a_name_of_its_column_is_ignored() -> None:
    assert fields(",id,name,image\n0,1,Apple,a.jpg\n") == [{"id": "1", "name": "Apple", "image": "a.jpg"}]


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_an_empty_file_is_no_table(text: str) -> None:
    with pytest.raises(CatalogError, match="the file is empty"), opened(text):
        pass


@given(st.lists(st.text(alphabet='ab",\n\r;', max_size=6), max_size=30))
def test_whatever_the_quotes_every_line_is_read_once(pieces: list[str]) -> None:
    found = records(SHORT + "\n".join(pieces))
    for record, following in pairwise(found):
        assert record.last_line + 1 == following.line


# Lines with several delimiters inside of one cell look like whole rows: such a cell is refused.
CELL = st.text(alphabet=st.sampled_from('aé",;|\t\n\r €1.'), max_size=8).filter(
    lambda cell: not {"\n", "\r"} & set(cell) or max(map(cell.count, ",;|\t")) <= 1
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(ENCODINGS),
)
def test_what_the_csv_module_writes_is_read_as_it_was(
    rows: list[tuple[str, str, str]], delimiter: str, quoting: int, end: str, encoding: str
) -> None:
    # Without quotes the module writes a line end as it is, unless it is one of its own.
    end = "\r\n" if quoting == csv.QUOTE_MINIMAL else end
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]  # one of csv's constants
    writer.writerow(("id", "name", "x", "y", "z"))
    writer.writerows((str(number), "A name", *row) for number, row in enumerate(rows))
    expected = [
        {"id": str(number), "name": "A name", **{k: v.strip() for k, v in zip("xyz", row, strict=True) if v.strip()}}
        for number, row in enumerate(rows)
    ]
    assert fields(text.getvalue().encode(encoding)) == expected
