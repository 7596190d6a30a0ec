"""Parquet: its types become what JSON has, and nothing is lost without a word."""

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from framematch.catalog.importing.files.open_file import open_source
from framematch.catalog.importing.files.records import Defect, Fields, Record
from framematch.catalog.importing.files.source_file import ReadOptions, SourceFile
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError, PrerequisiteError
from tests.unit.catalog.importing.source_files import row_with_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "products.csv"  # what it contains counts


def read(path: Path) -> tuple[SourceFile, list[Record]]:
    with open_source(path, ReadOptions(), row_with_id) as source:
        return source, list(source.records)


def test_rows_are_read_with_their_numbers(path: Path) -> None:
    parquet.write_table(pa.table({"id": ["1", "2", None], " name ": ["Apple", " ", None]}), path)
    source, found = read(path)
    assert (source.format, source.numbered_by, source.columns) == ("Parquet", "record", ("id", "name"))
    assert found == [Record(1, 1, {"id": "1", "name": "Apple"}), Record(2, 2, {"id": "2"}), Record(3, 3, None)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([Decimal("12.90")], pa.decimal128(30, 2)), "12.90"),
        (pa.array([Decimal("0.00000001")], pa.decimal128(30, 8)), "0.00000001"),
        (pa.array([12.5]), 12.5),
        (pa.array([float("nan")]), None),
        (pa.array([2**53 + 1]), 2**53 + 1),
        (pa.array([True]), True),
        (pa.array([dt.date(2026, 1, 2)]), "2026-01-02"),
        (pa.array([dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)]), "2026-01-02T03:04:00+00:00"),
        (pa.array([["a.jpg", None, "b.jpg"]]), ["a.jpg", None, "b.jpg"]),
        (
            pa.array([[{"lang": "de", "text": "Apfel", "n": float("nan")}]]),
            [{"lang": "de", "text": "Apfel", "n": None}],
        ),
        (pa.array([{"price": Decimal("4.20")}]), {"price": "4.20"}),
        (pa.array([b"text"]), "text"),
        (pa.array([b"\xff\xd8"]), None),
        (pa.array(["a", "b"]).dictionary_encode()[:1], "a"),
    ],
    ids=str,
)
def test_each_type_becomes_what_json_has(path: Path, values: pa.Array, expected: object) -> None:
    parquet.write_table(pa.table({"id": ["1"], "x": values}), path)
    (record,) = read(path)[1]
    wanted: Fields = {"id": "1"} if expected is None else {"id": "1", "x": expected}
    assert record.content == wanted


def test_a_map_is_an_object(path: Path) -> None:
    values = pa.array([[("size", "L")]], pa.map_(pa.string(), pa.string()))
    parquet.write_table(pa.table({"id": ["1"], "x": values}), path)
    assert read(path)[1][0].content == {"id": "1", "x": {"size": "L"}}


def test_a_column_of_bytes_is_told(path: Path) -> None:
    parquet.write_table(pa.table({"id": ["1"], "picture": [b"\xff\xd8"]}), path)
    assert read(path)[0].notices == ("Bytes that are no text are left out: picture.",)


def test_a_name_that_stands_twice_gets_a_number(path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["1"]), pa.array(["a"]), pa.array(["b"])], names=["id", "x", "x"])
    parquet.write_table(table, path)
    source, found = read(path)
    assert (source.columns, source.repeated_columns) == (("id", "x", "x (2)"), ("x",))
    assert found[0].content == {"id": "1", "x": "a", "x (2)": "b"}


def test_rows_are_read_in_batches(path: Path) -> None:
    parquet.write_table(pa.table({"id": [str(number) for number in range(2_500)]}), path)
    assert [record.content for record in read(path)[1]] == [{"id": str(number)} for number in range(2_500)]


def test_a_cut_file_is_refused(path: Path) -> None:
    parquet.write_table(pa.table({"id": ["1"]}), path)
    path.write_bytes(path.read_bytes()[:-10])
    with (
        pytest.raises(CatalogError, match="the Parquet file cannot be read"),
        open_source(path, ReadOptions(), row_with_id),
    ):
        pass


def test_damage_within_the_file_is_not_taken_for_its_end(path: Path) -> None:
    names = [f"{number * 7919}" for number in range(20_000)]
    parquet.write_table(
        pa.table({"id": names}), path, row_group_size=5_000, use_dictionary=False, write_page_checksum=True
    )
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    found = read(path)[1]
    last = found[-1].content
    assert isinstance(last, Defect)
    assert last.kind is ProblemKind.CUT
    assert 4_000 < len(found) < 20_000


def test_without_its_package_the_error_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pa.table({"id": ["1"]}), path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PrerequisiteError) as caught, open_source(path, ReadOptions(), row_with_id):
        pass
    assert caught.value.hint == "Install it with: pip install 'framematch[parquet]'"
