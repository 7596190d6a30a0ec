"""Tests of `framematch.catalog.importing.gathering.row_spool`."""

import itertools
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.files.records import Defect, Record
from framematch.catalog.importing.gathering.row_spool import RowSpool
from framematch.catalog.importing.problems import ProblemKind
from framematch.core.errors import CatalogError

keys_of_rows = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=20)


def lines_of_groups(keys: Sequence[Sequence[str]]) -> list[list[int]]:
    with RowSpool() as spool:
        for line, of_row in enumerate(keys, start=2):
            spool.add(Record(line, line, {"line": str(line)}), tuple(of_row))
        assert spool.rows == len(keys)
        return [[record.line for record in group] for group in spool.groups()]


def test_rows_that_share_a_key_are_one_group_in_the_order_of_first_rows() -> None:
    assert lines_of_groups([["a"], ["b"], ["a"], [], ["b"], []]) == [[2, 4], [3, 6], [5], [7]]


def test_rows_are_one_group_by_way_of_a_later_row() -> None:
    assert lines_of_groups([["id:a"], ["id:b"], ["id:c"], ["id:conf", "id:a", "id:c"]]) == [[2, 4, 5], [3]]


@given(keys_of_rows)
def test_every_row_is_in_one_group_and_those_that_share_a_key_are_in_the_same(keys: list[list[str]]) -> None:
    groups = lines_of_groups(keys)
    assert sorted(itertools.chain.from_iterable(groups)) == list(range(2, len(keys) + 2))
    assert groups == sorted(sorted(group) for group in groups)
    group_of = {line: number for number, group in enumerate(groups) for line in group}
    for one, other in itertools.combinations(range(len(keys)), 2):
        if set(keys[one]) & set(keys[other]):
            assert group_of[one + 2] == group_of[other + 2]


@given(keys_of_rows)
def test_rows_of_a_group_are_connected_by_keys(keys: list[list[str]]) -> None:
    for group in lines_of_groups(keys):
        reached, left = set(keys[group[0] - 2]), group[1:]
        while connected := [line for line in left if reached & set(keys[line - 2])]:
            reached = reached.union(*(keys[line - 2] for line in connected))
            left = [line for line in left if line not in connected]
        assert not left


@pytest.mark.parametrize(
    "content",
    [
        {"price": Decimal("4.20"), "made": datetime(2026, 3, 1, 12, tzinfo=UTC), "day": date(2026, 3, 1)},
        {"local": datetime.fromisoformat("2026-03-01T12:00:00.123456"), "bytes": b"\xff\x00", "large": 10**40},
        {"nested": [{"a": [1, 2.5, True]}, "text"], "half": "\ud800"},
        Defect(ProblemKind.NOT_TEXT, "not text", raw="M\udcfcnchen"),
    ],
)
def test_values_of_all_types_come_back_as_they_were(content: dict[str, Any] | Defect) -> None:
    record = Record(3, 5, content)
    with RowSpool() as spool:
        spool.add(record, ())
        assert list(spool.groups()) == [(record,)]


def test_a_spool_without_rows_has_no_groups() -> None:
    assert lines_of_groups([]) == []


def test_a_full_disk_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_full(prefix: str) -> IO[bytes]:
        assert prefix
        return Path("/dev/full").open("r+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", open_full)
    record = Record(2, 2, {"text": "x" * 1_000_000})
    with RowSpool() as spool:
        with pytest.raises(CatalogError, match="No space left on device") as full:
            spool.add(record, ())
        assert "TMPDIR" in full.value.hint


def test_rows_that_fit_into_the_buffer_but_not_onto_the_disk_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: Path("/dev/full").open("r+b"))  # noqa: ARG005, SIM115  # the spool closes it
    with RowSpool() as spool:
        spool.add(Record(2, 2, {"text": "x"}), ())
        with pytest.raises(CatalogError, match="No space left on device"):
            next(spool.groups())


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(CatalogError) as error:
        RowSpool()
    assert "TMPDIR" in error.value.hint
