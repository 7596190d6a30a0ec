"""Snapshots as files: only intact files of a compatible snapshot are accepted."""

import math
from dataclasses import replace
from pathlib import Path

import faiss
import msgspec
import numpy as np
import pytest

from framematch.catalog.snapshot import (
    INDEX_FILE,
    ROWS_FILE,
    FileInfo,
    RowTable,
    Snapshot,
    SnapshotManifest,
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
    for name, data in pack(snapshot.embeddings, snapshot.rows).items():
        (folder / name).write_bytes(data)


def test_a_written_snapshot_is_read_back_equal(tmp_path: Path) -> None:
    write(SNAPSHOT, tmp_path)
    read = read_snapshot(SNAPSHOT.manifest, tmp_path)
    assert read.rows == SNAPSHOT.rows
    assert (read.embeddings == SNAPSHOT.embeddings).all()


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
    ("manifest", "named"),
    [
        (replace(SNAPSHOT.manifest, rows=5), "its index does not have 5 rows of 48 dimensions"),
        (replace(SNAPSHOT.manifest, rows=2**62), "its index does not have"),
        (replace(SNAPSHOT.manifest, dimension=7), "its index does not have 4 rows of 7 dimensions"),
        (replace(SNAPSHOT.manifest, dimension=24, rows=8), "its index does not have 8 rows of 24 dimensions"),
        (replace(SNAPSHOT.manifest, products=4), "rows.json does not have 4 products"),
    ],
)
def test_files_that_disagree_with_the_manifest_are_refused(
    tmp_path: Path, manifest: SnapshotManifest, named: str
) -> None:
    write(SNAPSHOT, tmp_path)
    with pytest.raises(CatalogError, match=named):
        read_snapshot(manifest, tmp_path)


def test_a_row_table_of_another_length_is_refused(tmp_path: Path) -> None:
    write(replace(SNAPSHOT, rows=RowTable(("a",), (0,))), tmp_path)
    with pytest.raises(CatalogError, match=r"rows\.json does not have 4 rows"):
        read_snapshot(SNAPSHOT.manifest, tmp_path)


def test_the_index_file_is_one_that_faiss_reads_and_writes() -> None:
    index = faiss.IndexFlatIP(48)
    index.add(SNAPSHOT.embeddings)
    written = pack(SNAPSHOT.embeddings, SNAPSHOT.rows)[INDEX_FILE]
    assert written == faiss.serialize_index(index).tobytes()
    assert faiss.deserialize_index(np.frombuffer(written, np.uint8)).ntotal == 4


def other_indexes() -> dict[str, faiss.Index]:
    """Indexes of other types, with the rows of the snapshot."""
    quantizer = faiss.IndexFlatIP(48)
    lists = faiss.IndexIVFFlat(quantizer, 48, 1, faiss.METRIC_INNER_PRODUCT)
    made: dict[str, faiss.Index] = {
        "by distance": faiss.IndexFlatL2(48),
        "graph": faiss.IndexHNSWFlat(48, 4, faiss.METRIC_INNER_PRODUCT),
        "lists": lists,
        "own ids": faiss.IndexIDMap(faiss.IndexFlatIP(48)),
        "compressed": faiss.IndexScalarQuantizer(48, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT),
    }
    for index in made.values():
        index.train(SNAPSHOT.embeddings)
        if isinstance(index, faiss.IndexIDMap):
            index.add_with_ids(SNAPSHOT.embeddings, np.arange(4))
        else:
            index.add(SNAPSHOT.embeddings)
    return made


@pytest.mark.parametrize(("kind", "index"), other_indexes().items())
def test_an_index_of_another_type_is_refused_and_faiss_does_not_read_it(
    tmp_path: Path, kind: str, index: faiss.Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss, "read_index", None)
    write(SNAPSHOT, tmp_path)
    (tmp_path / INDEX_FILE).write_bytes(faiss.serialize_index(index).tobytes())
    with pytest.raises(CatalogError, match=r"its index has the type b'I.*only b'IxFI' is read") as caught:
        read_snapshot(SNAPSHOT.manifest, tmp_path)
    assert "catalog build" in caught.value.hint, kind


HEADER_BYTES = 45


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (4, b"\xff\xff\xff\x7f"),  # dimension
        (8, (5).to_bytes(8, "little")),  # rows
        (33, b"\x01"),  # metric: distance
        (37, (2**60).to_bytes(8, "little")),  # number of values
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, at: int, new: bytes) -> None:
    write(SNAPSHOT, tmp_path)
    data = bytearray((tmp_path / INDEX_FILE).read_bytes())
    assert data[at : at + len(new)] != new
    data[at : at + len(new)] = new
    (tmp_path / INDEX_FILE).write_bytes(data)
    with pytest.raises(CatalogError, match="does not have 4 rows of 48 dimensions"):
        read_snapshot(SNAPSHOT.manifest, tmp_path)


@pytest.mark.parametrize("change", [-1, 1, -HEADER_BYTES])
def test_a_file_of_another_size_is_refused(tmp_path: Path, change: int) -> None:
    write(SNAPSHOT, tmp_path)
    data = (tmp_path / INDEX_FILE).read_bytes()
    (tmp_path / INDEX_FILE).write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(CatalogError, match="does not have 4 rows of 48 dimensions"):
        read_snapshot(SNAPSHOT.manifest, tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 3.0])
def test_a_row_that_is_no_unit_vector_is_refused(tmp_path: Path, value: float) -> None:
    embeddings = SNAPSHOT.embeddings.copy()
    embeddings[2] = value
    write(replace(SNAPSHOT, embeddings=embeddings), tmp_path)
    with pytest.raises(CatalogError, match="row 2 of its index is no finite unit vector"):
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
        replace(SNAPSHOT.manifest, products=0),
        replace(SNAPSHOT.manifest, dimension=-1),
    ],
)
def test_a_manifest_of_nothing_is_refused(manifest: SnapshotManifest) -> None:
    with pytest.raises(CatalogError, match="has no product"):
        check_manifest(manifest)


def test_the_manifest_of_an_older_version_is_read() -> None:
    older = msgspec.to_builtins(SNAPSHOT.manifest)
    del older["empty_frames"]
    check_manifest(read := msgspec.convert(older, SnapshotManifest))
    assert read == SNAPSHOT.manifest
