"""The file of refused rows has the shape of the source, and its last two columns are ignored by another import."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.files.source_file import SourceFile
from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.importing.refused_rows import RefusedRows, refused_path, without_reasons
from framematch.core.errors import UsageError

DEFECT = Record(7, 8, Defect(ProblemKind.QUOTES, "a quote is not closed", 'p3,"Plum'))
NO_TEXT = Record(9, 9, Defect(ProblemKind.NOT_JSON, "not JSON", '{"id": "half a \ud800'))


def source(columns: Sequence[str], records: Sequence[Record], delimiter: str | None) -> SourceFile:
    return SourceFile("CSV" if delimiter else "JSON lines", "utf-8", delimiter, tuple(columns), (), iter(records))


def test_a_csv_file_has_the_columns_and_the_delimiter_of_the_source_and_opens_in_excel(tmp_path: Path) -> None:
    path = tmp_path / "new" / "refused.csv"
    with RefusedRows(path, source(("id", "", "name"), [], ";")) as refused:
        refused.write(Record(4, 5, {"id": "4711", "name": "Käse; alt\nund gut"}), "no image")
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfid;;name;line;reason\r\n")
    rows = list(csv.reader(data.decode("utf-8-sig").splitlines(keepends=True), delimiter=";"))
    assert rows[1] == ["4711", "", "Käse; alt\nund gut", "4", "no image"]


def test_a_row_that_could_not_be_read_has_its_text_in_the_first_cell(tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    with RefusedRows(path, source(("id", "name"), [], ",")) as refused:
        refused.write(DEFECT, "a quote is not closed")
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file))[1] == ['p3,"Plum', "", "7", "a quote is not closed"]


def test_other_formats_become_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "refused.jsonl"
    with RefusedRows(path, source(("id", "images"), [], None)) as refused:
        refused.write(Record(1, 1, {"id": "a", "images": ["a.png", "b.png"], "n": 1.5}), "no name")
        refused.write(NO_TEXT, "not JSON")
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
        {"id": "a", "images": ["a.png", "b.png"], "n": 1.5, "line": 1, "reason": "no name"},
        {"raw": '{"id": "half a \ud800', "line": 9, "reason": "not JSON"},
    ]


def test_without_a_refused_row_there_is_no_file_not_even_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    path.write_text("of an earlier import")
    with RefusedRows(path, source(("id",), [], ",")):
        pass
    assert not path.exists()


def test_rows_are_in_the_file_before_the_import_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    with RefusedRows(path, source(("id",), [], ",")) as refused:
        refused.write(Record(2, 2, {"id": "a"}), "no name")
        refused.flush()
        assert len(path.read_text(encoding="utf-8").splitlines()) == 2


def test_a_file_that_cannot_be_written_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Name a file with --refused"):
        RefusedRows(tmp_path / "file" / "refused.csv", source(("id",), [], ","))


def test_the_two_columns_of_refused_rows_are_left_out_when_they_are_imported() -> None:
    rows = [
        Record(2, 2, {"id": "a", "line": "4", "reason": "no name"}),
        Record(3, 3, {"line": "5", "reason": "corrected away"}),
        Record(4, 4, None),
        DEFECT,
    ]
    found = without_reasons(source(("id", "line", "reason"), rows, ","))
    assert found.columns == ("id",)
    assert list(found.records) == [Record(2, 2, {"id": "a"}), Record(3, 3, None), Record(4, 4, None), DEFECT]


def test_columns_of_these_names_at_another_place_are_the_users_own() -> None:
    rows = [Record(2, 2, {"line": "A", "reason": "x", "id": "a"})]
    found = without_reasons(source(("line", "reason", "id"), rows, ","))
    assert (found.columns, list(found.records)) == (("line", "reason", "id"), rows)


def test_the_two_keys_of_refused_rows_are_left_out_of_json_lines() -> None:
    rows = [Record(1, 1, {"id": "a", "line": 4, "reason": "no name"}), Record(2, 2, {"reason": "x", "id": "b"})]
    found = without_reasons(source(("id",), rows, None))
    assert list(found.records) == [Record(1, 1, {"id": "a"}), Record(2, 2, {"reason": "x", "id": "b"})]


def test_the_file_of_refused_rows_is_never_the_source(tmp_path: Path) -> None:
    path = refused_path(None, tmp_path / "products.csv", tmp_path, is_csv=True)
    assert path == tmp_path / "import_refused.csv"
    path.write_text("id")
    again = refused_path(None, path, tmp_path, is_csv=True)
    assert again == tmp_path / "import_refused_again.csv"
    again.write_text("id")
    assert refused_path(None, again, tmp_path, is_csv=True) == path
    (tmp_path / "link.csv").symlink_to(path)
    with pytest.raises(UsageError, match="names the catalogue file itself"):
        refused_path(tmp_path / "link.csv", path, tmp_path, is_csv=True)


def test_a_name_that_the_header_has_twice_is_written_twice(tmp_path: Path) -> None:
    columns = ("id", "image", "image (2)", "size (2)")
    with RefusedRows(
        tmp_path / "refused.csv", replace(source(columns, [], ","), repeated_columns=("image",))
    ) as refused:
        refused.write(Record(2, 2, {"id": "a", "image": "1.png", "image (2)": "2.png"}), "no name")
    lines = (tmp_path / "refused.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines == ["id,image,image,size (2),line,reason", "a,1.png,2.png,,2,no name"]
