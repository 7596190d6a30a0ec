"""What a build stores and activates, with a real MongoDB server: bad indexes, faster builds, full disks, storages."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framematch.catalog.building.build import BuildOptions, BuildReport
from framematch.catalog.building.folder import build_folder
from framematch.catalog.building.stored_build import Builder, activate_built, active_snapshot
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import Database
from framematch.catalog.products import Product, ProductStore
from framematch.catalog.samples.embedder import frame_crop
from framematch.catalog.samples.nothing import is_nothing_row
from framematch.catalog.samples.sample import LabelledPicture
from framematch.catalog.samples.store import SampleStore
from framematch.catalog.snapshots.names import read_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot
from framematch.core.errors import CatalogError
from framematch.matching.matcher import Matcher
from framematch.vector_index.description import Kind
from framematch.vision.preprocess import Preprocessor
from tests.support import file_size_limit
from tests.unit.catalog.snapshots import SPEC, ColourEncoder, picture

pytestmark = pytest.mark.integration

PREPROCESSOR = Preprocessor(SPEC, "fast")
PRODUCTS = 40


@pytest.fixture
async def builder(database: Database, tmp_path: Path) -> Builder:
    """Builds from a catalogue of `PRODUCTS` products with a picture each, into a folder."""
    for number in range(PRODUCTS + 2):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    store = ProductStore(database)
    builder = Builder(store, open_storage(str(tmp_path / "storage"), database), tmp_path / "cache")
    await import_pictures(builder, range(PRODUCTS))
    return builder


async def import_pictures(builder: Builder, pictures: range) -> None:
    """Give the products p0, p1, … these pictures."""
    folder = builder.cache_dir.parent
    rows = [f"p{product},Product,{number}.png\n" for product, number in enumerate(pictures)]
    (folder / "products.csv").write_text("id,name,image\n" + "".join(rows))
    await import_products(folder / "products.csv", ImportOptions(images=folder), builder.store)


async def build(builder: Builder, encoder: ColourEncoder | None = None, **more: Any) -> SnapshotManifest:
    return await builder.build(encoder or ColourEncoder(), PREPROCESSOR, BuildOptions(), **more)


async def test_only_pictures_that_are_new_are_embedded(builder: Builder) -> None:
    reports = []
    for pictures in (range(PRODUCTS), range(PRODUCTS), range(2, PRODUCTS + 2)):
        await import_pictures(builder, pictures)
        reports.append(BuildReport())
        manifest = await build(builder, report=reports[-1])
        assert manifest.rows == PRODUCTS
    assert [(report.pictures, report.new_pictures) for report in reports] == [(40, 40), (40, 0), (40, 2)]


async def test_labelled_empty_scenes_are_known_by_the_snapshot_and_are_no_products(builder: Builder) -> None:
    samples = SampleStore(builder.store.database)
    # The last two are pictures of products: whoever labelled them was wrong.
    empty = [
        LabelledPicture.of(picture(number), "nothing", source="folder", group=str(number)) for number in range(100, 120)
    ]
    wrong = [LabelledPicture.of(picture(number), "nothing", source="folder", group=one.sample.group)
             for number, one in enumerate(empty) if is_nothing_row(one.sample)][:2]  # fmt: skip
    await samples.add([*empty, *wrong])
    rows = [one for one in empty if is_nothing_row(one.sample)]
    report = BuildReport()
    manifest = await build(builder, report=report)
    assert (manifest.nothing, report.nothing_like_products) == (len(rows), len(wrong))
    assert (manifest.products, manifest.rows) == (PRODUCTS, PRODUCTS)
    snapshot = await load_snapshot(builder.store.database, builder.storage, builder.cache_dir, manifest.id)
    crops = np.stack([frame_crop(one.data, PREPROCESSOR) for one in rows])
    decisions = Matcher(snapshot).match(await ColourEncoder().embed(crops))
    assert {decision.reason for decision in decisions} == {"empty"}
    snapshot.index.close()


async def test_another_model_embeds_all_pictures_again(builder: Builder) -> None:
    await build(builder)
    report, other = BuildReport(), ColourEncoder()
    other.manifest = replace(other.manifest, digest="cd" * 32)
    await build(builder, other, report=report)
    assert report.new_pictures == PRODUCTS


@pytest.mark.parametrize("kind", ["flat", "hnsw", "rabitq"])
async def test_an_index_of_each_kind_is_built_and_fetched(builder: Builder, kind: Kind) -> None:
    manifest = await builder.build(ColourEncoder(), PREPROCESSOR, BuildOptions(kind))
    assert manifest.index.kind == kind
    loaded = await load_snapshot(
        builder.store.database, builder.storage, builder.cache_dir.with_name("other"), manifest.id
    )
    [[best]] = loaded.index.search(loaded.index.read(np.array([7])), 1)[1]
    assert best == 7
    loaded.index.close()


async def test_the_manifest_has_the_newest_change_before_the_build(builder: Builder) -> None:
    await builder.store.database.delta.insert_many([{"_id": number} for number in (1, 2, 3)])
    assert (await build(builder)).delta == 3


async def test_the_builder_itself_fetches_nothing(builder: Builder) -> None:
    manifest = await build(builder)
    for file in (builder.cache_dir.parent / "storage").glob("*/*"):
        file.unlink()
    await load_snapshot(builder.store.database, builder.storage, builder.cache_dir, manifest.id)


async def test_a_build_that_was_slower_does_not_replace_newer_data(builder: Builder) -> None:
    database = builder.store.database
    older = await build(builder)
    await builder.store.upsert_many([Product("more", "More")])
    newer = await build(builder)
    assert await activate_built(database, newer, None) == newer.id
    assert await activate_built(database, older, None) == newer.id  # nothing was active when it started
    assert await active_snapshot(database) == newer.id
    assert await activate_built(database, older, newer.id) == older.id  # it started after that
    assert await active_snapshot(database) == older.id


async def test_an_index_that_finds_too_little_is_stored_and_not_activated(builder: Builder) -> None:
    database = builder.store.database
    first, second = await build(builder), await build(builder)
    await activate_built(database, first, None)
    await database.snapshots.update_one({"_id": second.id}, {"$set": {"manifest.index.recall_at_10": 0.98}})
    with pytest.raises(CatalogError, match=f"index of snapshot {second.id} finds 98.0%"):
        await activate_built(database, second, first.id)
    assert (await read_names(database)).active == first.id


@pytest.mark.parametrize("limit_bytes", [1_000, 7_700])
async def test_a_full_disk_is_one_clear_error_and_leaves_nothing(builder: Builder, limit_bytes: int) -> None:
    with file_size_limit(limit_bytes), pytest.raises(CatalogError, match=r"cannot write to .*: File too large"):
        await build(builder)
    assert [path.name for path in builder.cache_dir.iterdir()] == [".lock"]
    assert not list((builder.cache_dir.parent / "storage").glob("*"))
    assert await builder.store.database.snapshot_leases.count_documents({}) == 0
    assert (await build(builder)).rows == PRODUCTS


async def test_a_folder_for_snapshots_that_cannot_be_written_is_one_clear_error(builder: Builder) -> None:
    builder.cache_dir.write_text("a file, no folder")
    with pytest.raises(CatalogError, match=f"cannot write to {builder.cache_dir}: ") as caught:
        await build(builder)
    assert caught.value.hint


def test_the_folder_of_a_running_build_stays_and_one_of_a_killed_build_is_deleted(tmp_path: Path) -> None:
    (tmp_path / ".build-killed").mkdir()
    (tmp_path / ".build-killed" / "vectors.npy").write_bytes(b"half")
    with build_folder(tmp_path) as first, build_folder(tmp_path) as second:
        assert first.is_dir()
        assert second != first
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_build_needs_less_memory_than_its_vectors_have(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.build_memory_program", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["100000 flat"]), done.stderr
