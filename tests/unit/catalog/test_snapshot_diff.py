"""The difference of two snapshots."""

from dataclasses import replace
from pathlib import Path

import pytest

from framematch.catalog.snapshots.diff import ChangedField, ChangedProduct, SnapshotDiff, diff_snapshots, model_label
from framematch.catalog.snapshots.snapshot import RowTable, SnapshotManifest
from framematch.vector_index.description import IndexDescription
from tests.unit.catalog.snapshots import unit_rows, write_snapshot


@pytest.fixture
def manifest(tmp_path: Path) -> SnapshotManifest:
    return write_snapshot(tmp_path, unit_rows(2), ["a", "b"])


def table(**pictures: str) -> RowTable:
    """The rows of products with these pictures, one letter each."""
    rows = [(key, view, image) for key, images in pictures.items() for view, image in enumerate(images)]
    ids, views, images = zip(*rows, strict=True)
    return RowTable(ids, views, images, tuple(range(len(rows))))


def test_products_are_added_removed_changed_or_the_same(manifest: SnapshotManifest) -> None:
    before = table(kept="A", gone="B", more="C", other="DE", twice="FF")
    after = table(new="B", kept="A", more="CG", other="DH", twice="F")
    assert diff_snapshots(manifest, before, manifest, after) == SnapshotDiff(
        added=("new",),
        removed=("gone",),
        changed=(
            ChangedProduct("more", ("G",), ()),
            ChangedProduct("other", ("H",), ("E",)),
            ChangedProduct("twice", (), ("F",)),
        ),
        same=1,
        fields=(),
    )


def test_the_order_of_a_products_pictures_and_of_the_rows_is_no_change(manifest: SnapshotManifest) -> None:
    diff = diff_snapshots(manifest, table(a="AB", b="C"), manifest, table(b="C", a="BA"))
    assert (diff.added, diff.removed, diff.changed, diff.same) == ((), (), (), 2)


def test_other_thresholds_models_and_indexes_are_told_with_both_values(manifest: SnapshotManifest) -> None:
    rows = table(a="A")
    after = replace(
        manifest,
        id="later",
        model_digest="cd" * 32,
        thresholds=replace(manifest.thresholds, match=0.75),
        index=IndexDescription("hnsw", {"efSearch": 64, "M": 32}, 1.0, 1.0, 100),
    )
    assert diff_snapshots(manifest, rows, after, rows).fields == (
        ChangedField("model", "colours abababababab", "colours cdcdcdcdcdcd"),
        ChangedField("index", "flat", "hnsw M=32 efSearch=64"),
        ChangedField("match_threshold", 0.5, 0.75),
    )


def test_a_models_digest_is_told_once(manifest: SnapshotManifest) -> None:
    assert model_label(manifest) == "colours abababababab"
    assert model_label(replace(manifest, model_name="clip_image_abababababab")) == "clip_image_abababababab"
