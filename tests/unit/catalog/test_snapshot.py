"""Snapshots as files: only intact files of a compatible snapshot are accepted."""

import json
import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from framematch.catalog.snapshots.snapshot import (
    FileInfo,
    RowTable,
    SnapshotManifest,
    check_compatible,
    check_manifest,
    is_intact,
    open_snapshot,
    read_rows,
    write_rows,
)
from framematch.core.errors import CatalogError, ModelMismatchError
from tests.unit.catalog.snapshots import (
    MODEL,
    SPEC,
    embeddings_of,
    make_snapshot,
    row_table,
    unit_rows,
    write_snapshot,
)

EMBEDDINGS, IDS = unit_rows(4), ["a", "a", "b", "c"]
SNAPSHOT = make_snapshot(EMBEDDINGS, IDS)
FILES = sorted(SNAPSHOT.manifest.files)


def test_a_written_snapshot_is_read_back_equal(tmp_path: Path) -> None:
    read = open_snapshot(write_snapshot(tmp_path, EMBEDDINGS, IDS), tmp_path)
    assert read.manifest == SNAPSHOT.manifest
    assert read.rows == SNAPSHOT.rows
    assert (embeddings_of(read) == EMBEDDINGS).all()


def test_views_that_look_the_same_share_a_vector() -> None:
    shared = make_snapshot(EMBEDDINGS[[0, 1, 0, 2]], IDS)
    assert shared.manifest.vectors == shared.index.vectors == 3
    assert shared.rows.vectors == (0, 1, 0, 2)


def test_written_files_are_intact(tmp_path: Path) -> None:
    manifest = write_snapshot(tmp_path, EMBEDDINGS, IDS)
    assert all(is_intact(tmp_path / name, info) for name, info in manifest.files.items())


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_detected(tmp_path: Path, name: str) -> None:
    manifest = write_snapshot(tmp_path, EMBEDDINGS, IDS)
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    assert not is_intact(tmp_path / name, manifest.files[name])


def test_a_missing_file_is_not_intact(tmp_path: Path) -> None:
    assert not is_intact(tmp_path / "none", FileInfo("00", 0))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rows": 5}, r"rows\.json does not have 5 rows"),
        ({"products": 4}, r"rows\.json does not have 4 products"),
        ({"vectors": 5}, r"rows\.json does not have 5 vectors"),
        ({"vectors": 3}, r"rows\.json does not have 3 vectors"),
        ({"dimension": 7}, "is no file of 4 x 7 values"),
    ],
)
def test_files_that_disagree_with_the_manifest_are_refused(tmp_path: Path, changes: dict[str, int], named: str) -> None:
    manifest = write_snapshot(tmp_path, EMBEDDINGS, IDS)
    with pytest.raises(CatalogError, match=named):
        open_snapshot(replace(manifest, **changes), tmp_path)  # type: ignore[arg-type]  # all of them are numbers


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (row_table(IDS[:3]), "does not have 4 rows"),
        (row_table(IDS, (0, 1, 2, 2)), "does not have 4 vectors"),
        (row_table(IDS, (0, 1, 2, -1)), "does not have 4 vectors"),
        (replace(row_table(IDS), views=(0, 0, 0, 0)), "has a view twice"),
        (replace(row_table(IDS), views=(0, -1, 0, 0)), "has a view without a number"),
        (replace(row_table(IDS), views=(0, 2**70, 0, 0)), "cannot be read"),
        (replace(row_table(IDS), images=()), "does not have 4 rows"),
    ],
    ids=["rows", "one vector unused", "a vector that is none", "views", "view below 0", "huge view", "images"],
)
def test_a_table_that_does_not_fit_the_index_is_refused(tmp_path: Path, rows: RowTable, named: str) -> None:
    manifest = write_snapshot(tmp_path, EMBEDDINGS, IDS)
    write_rows(rows, tmp_path)
    with pytest.raises(CatalogError, match=named):
        open_snapshot(manifest, tmp_path)


def test_a_table_of_several_blocks_is_checked_as_a_whole(tmp_path: Path) -> None:
    rows = 20_000
    whole = RowTable(
        tuple(f"p{row % 9_000}" for row in range(rows)),
        tuple(row // 9_000 for row in range(rows)),
        tuple(f"{row:064x}" for row in range(rows)),
        tuple(row % 7 for row in range(rows)),
    )
    manifest = replace(write_snapshot(tmp_path, EMBEDDINGS, IDS), rows=rows, products=9_000, vectors=7)
    write_rows(whole, tmp_path)
    assert read_rows(manifest, tmp_path) == whole
    write_rows(replace(whole, views=(*whole.views[:-1], 0)), tmp_path)
    with pytest.raises(CatalogError, match="has a view twice"):
        read_rows(manifest, tmp_path)


def test_categories_are_read_back_over_several_blocks(tmp_path: Path) -> None:
    every = range(9_000)
    rows = RowTable(
        tuple(f"p{row}" for row in every), (0,) * 9_000, ("00",) * 9_000, tuple(every), (0, 1, -1) * 3_000, ("a", "b")
    )
    manifest = replace(write_snapshot(tmp_path, EMBEDDINGS, IDS), rows=9_000, products=9_000, vectors=9_000)
    write_rows(rows, tmp_path)
    assert read_rows(manifest, tmp_path) == rows
    assert len(rows.category_of_products()) == 6_000
    assert rows.category_of_products({"b", "none"})["p8998"] == "b"
    assert len(rows.category_of_products({"b", "none"})) == 3_000


def test_a_table_of_an_older_version_has_no_categories(tmp_path: Path) -> None:
    manifest = write_snapshot(tmp_path, EMBEDDINGS, IDS)
    old = json.loads((tmp_path / "rows.json").read_bytes())
    del old["categories"], old["category_names"]
    (tmp_path / "rows.json").write_text(json.dumps(old))
    assert read_rows(manifest, tmp_path).category_of_products() == {}


@pytest.mark.parametrize("wrong", [(0, 1, 0), (0, 1, 2, 0), (0, -2, 0, 0)])
def test_categories_that_do_not_fit_the_rows_are_refused(tmp_path: Path, wrong: tuple[int, ...]) -> None:
    manifest = write_snapshot(tmp_path, EMBEDDINGS, IDS)
    write_rows(replace(row_table(IDS), vectors=(0, 1, 2, 3), categories=wrong, category_names=("a", "b")), tmp_path)
    with pytest.raises(CatalogError, match="categories that do not fit"):
        read_rows(manifest, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, name: str) -> None:
    manifest = write_snapshot(tmp_path, EMBEDDINGS, IDS)
    (tmp_path / name).write_bytes(b"no")
    with pytest.raises(CatalogError, match="cannot be read") as caught:
        open_snapshot(manifest, tmp_path)
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
    with pytest.raises(CatalogError, match="has format 3, this version reads 2"):
        check_manifest(replace(SNAPSHOT.manifest, format_version=3))


@pytest.mark.parametrize(
    ("match", "margin"),
    [(-0.13, 0.1), (0.0, 0.1), (1.01, 0.1), (math.nan, 0.1), (0.5, -0.1), (0.5, 1.1), (0.5, math.nan)],
)
def test_a_manifest_with_impossible_thresholds_is_refused(match: float, margin: float) -> None:
    thresholds = replace(SNAPSHOT.manifest.thresholds, match=match, margin=margin)
    with pytest.raises(CatalogError, match=r"thresholds match .* which cannot be") as caught:
        check_manifest(replace(SNAPSHOT.manifest, thresholds=thresholds))
    assert "catalog build" in caught.value.hint


@pytest.mark.parametrize(
    "manifest",
    [
        replace(SNAPSHOT.manifest, rows=0),
        replace(SNAPSHOT.manifest, vectors=0),
        replace(SNAPSHOT.manifest, products=0),
        replace(SNAPSHOT.manifest, dimension=-1),
    ],
)
def test_a_manifest_of_nothing_is_refused(manifest: SnapshotManifest) -> None:
    with pytest.raises(CatalogError, match="has no product"):
        check_manifest(manifest)


def test_a_manifest_survives_a_database() -> None:
    assert msgspec.convert(msgspec.to_builtins(SNAPSHOT.manifest), SnapshotManifest) == SNAPSHOT.manifest
