"""Snapshots as files: only intact files of a compatible snapshot are accepted."""

from dataclasses import replace
from pathlib import Path

import pytest

from framematch.catalog.snapshot import (
    INDEX_FILE,
    ROWS_FILE,
    FileInfo,
    RowTable,
    Snapshot,
    check_compatible,
    check_manifest,
    is_intact,
    pack,
    read_snapshot,
)
from framematch.core.errors import CatalogError, ModelMismatchError
from tests.unit.catalog.snapshots import MODEL, SPEC, make_snapshot, unit_rows

SNAPSHOT = make_snapshot(unit_rows(4), ["a", "a", "b", "c"])


def write(snapshot: Snapshot, folder: Path) -> None:
    for name, data in pack(snapshot.index, snapshot.rows).items():
        (folder / name).write_bytes(data)


def test_a_written_snapshot_is_read_back_equal(tmp_path: Path) -> None:
    write(SNAPSHOT, tmp_path)
    read = read_snapshot(SNAPSHOT.manifest, tmp_path)
    assert read.rows == SNAPSHOT.rows
    assert (read.index.reconstruct_n(0, 4) == SNAPSHOT.index.reconstruct_n(0, 4)).all()


def test_written_files_are_intact(tmp_path: Path) -> None:
    write(SNAPSHOT, tmp_path)
    assert all(is_intact(tmp_path / name, info) for name, info in SNAPSHOT.manifest.files.items())


@pytest.mark.parametrize("name", [INDEX_FILE, ROWS_FILE])
def test_one_changed_bit_is_detected(tmp_path: Path, name: str) -> None:
    write(SNAPSHOT, tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    assert not is_intact(tmp_path / name, SNAPSHOT.manifest.files[name])


def test_a_missing_file_is_not_intact(tmp_path: Path) -> None:
    assert not is_intact(tmp_path / "none", FileInfo("00", 0))


@pytest.mark.parametrize(
    "manifest",
    [
        replace(SNAPSHOT.manifest, rows=5),
        replace(SNAPSHOT.manifest, dimension=7),
    ],
)
def test_files_that_disagree_with_the_manifest_are_refused(tmp_path: Path, manifest: object) -> None:
    write(SNAPSHOT, tmp_path)
    with pytest.raises(CatalogError, match="do not agree"):
        read_snapshot(manifest, tmp_path)  # type: ignore[arg-type]  # parametrize knows no types


def test_a_row_table_of_another_length_is_refused(tmp_path: Path) -> None:
    write(replace(SNAPSHOT, rows=RowTable(("a",), (0,))), tmp_path)
    with pytest.raises(CatalogError, match="do not agree"):
        read_snapshot(SNAPSHOT.manifest, tmp_path)


@pytest.mark.parametrize("name", [INDEX_FILE, ROWS_FILE])
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, name: str) -> None:
    write(SNAPSHOT, tmp_path)
    (tmp_path / name).write_bytes(b"no")
    with pytest.raises(CatalogError, match="cannot be read") as caught:
        read_snapshot(SNAPSHOT.manifest, tmp_path)
    assert "catalog build" in caught.value.hint


def test_the_model_that_built_the_snapshot_is_accepted() -> None:
    check_compatible(SNAPSHOT.manifest, MODEL)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (replace(MODEL, digest="cd" * 32), "model colours abababababab, Triton serves colours cdcdcdcdcdcd"),
        (replace(MODEL, dimension=7), "dimension 48, Triton serves 7"),
        (replace(MODEL, preprocess=replace(SPEC, crop_width=3)), "preprocessing"),
    ],
)
def test_another_model_dimension_or_preprocessing_is_refused_naming_both_sides(model: object, named: str) -> None:
    with pytest.raises(ModelMismatchError, match=named) as caught:
        check_compatible(SNAPSHOT.manifest, model)  # type: ignore[arg-type]  # parametrize knows no types
    assert "framematch catalog build" in caught.value.hint


@pytest.mark.parametrize("snapshot_id", ["../../etc", "", ".", "a/b", "x" * 65])
def test_an_id_that_is_no_folder_name_is_refused(snapshot_id: str) -> None:
    with pytest.raises(CatalogError):
        check_manifest(replace(SNAPSHOT.manifest, id=snapshot_id))


def test_a_manifest_with_other_files_is_refused() -> None:
    files = {**SNAPSHOT.manifest.files, "../../.bashrc": FileInfo("00", 1)}
    with pytest.raises(CatalogError, match="not one of ours"):
        check_manifest(replace(SNAPSHOT.manifest, files=files))


def test_a_manifest_of_a_later_format_is_refused() -> None:
    with pytest.raises(CatalogError, match="has format 2, this version reads 1"):
        check_manifest(replace(SNAPSHOT.manifest, format_version=2))
