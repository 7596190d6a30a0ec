"""Index snapshots in a real MongoDB server and on local disk."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from framematch.catalog.building.build import BuildReport, build_snapshot
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.mongo import Database
from framematch.catalog.operations.activation import activate
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.names import SnapshotNames, read_names
from framematch.catalog.snapshots.snapshot import ROWS_FILE, Snapshot, open_snapshot
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage
from framematch.catalog.snapshots.store import (
    load_manifest,
    load_snapshot,
    save_snapshot,
)
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import CatalogError, TritonUnavailableError
from framematch.matching.matcher import Matcher
from framematch.vector_index.files import VECTORS_FILE
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import SPEC, ColourEncoder, embeddings_of, picture, unit_rows, write_snapshot

pytestmark = pytest.mark.integration

PREPROCESSOR = Preprocessor(SPEC, "fast")
PRODUCTS = 20


def new_folder(parent: Path, name: str) -> Path:
    """A folder of this name."""
    folder = parent / name
    folder.mkdir()
    return folder


@pytest.fixture
async def catalogue(database: Database, tmp_path: Path) -> ProductStore:
    """Products p00 to p19 with a picture each; p00 has a second; every other one has a category."""
    for number in range(PRODUCTS + 1):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    files = [f"{n}.png{f';{PRODUCTS}.png' if n == 0 else ''}" for n in range(PRODUCTS)]
    rows = [f"p{n:02},Product {n},{'even' if n % 2 == 0 else ''},{file}\n" for n, file in enumerate(files)]
    (tmp_path / "products.csv").write_text("id,name,category,image\n" + "".join(rows), encoding="utf-8")
    store = ProductStore(database)
    await import_products(tmp_path / "products.csv", ImportOptions(images=tmp_path), store)
    return store


@pytest.fixture
async def stored(database: Database, catalogue: ProductStore, tmp_path: Path) -> Snapshot:
    """A snapshot of the catalogue, stored and active."""
    folder = new_folder(tmp_path, "built")
    manifest = await build_snapshot(catalogue, ColourEncoder(), PREPROCESSOR, folder)
    await save_snapshot(database, GridFsStorage(database), manifest, folder)
    await activate(database, manifest.id)
    return open_snapshot(manifest, folder)


async def test_every_view_gets_a_row_that_finds_its_product(catalogue: ProductStore, tmp_path: Path) -> None:
    encoder = ColourEncoder()
    snapshot = open_snapshot(await build_snapshot(catalogue, encoder, PREPROCESSOR, tmp_path), tmp_path)
    assert snapshot.rows.product_ids == ("p00", *(f"p{n:02}" for n in range(PRODUCTS)))
    assert snapshot.rows.views == (0, 1, *(0 for _ in range(PRODUCTS - 1)))
    assert snapshot.rows.category_of_products() == {f"p{n:02}": "even" for n in range(0, PRODUCTS, 2)}
    assert (snapshot.manifest.rows, snapshot.manifest.products) == (PRODUCTS + 1, PRODUCTS)
    assert snapshot.manifest.catalog_version == await catalogue.catalog_version()
    decisions = Matcher(snapshot).match(embeddings_of(snapshot))
    assert tuple(decision.candidates[0].product_id for decision in decisions) == snapshot.rows.product_ids
    assert encoder.largest_batch <= encoder.manifest.max_batch_size


async def test_building_reports_progress_up_to_the_last_view(catalogue: ProductStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    await build_snapshot(
        catalogue, ColourEncoder(), PREPROCESSOR, tmp_path, on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (PRODUCTS + 1, PRODUCTS + 1)
    assert seen == sorted(seen)


async def test_a_picture_of_several_products_is_embedded_once_and_reported(
    catalogue: ProductStore, tmp_path: Path
) -> None:
    rows = [f"twin{number},Twin,{number}.png\n" for number in range(5)]
    (tmp_path / "twins.csv").write_text("id,name,image\n" + "".join(rows), encoding="utf-8")
    await import_products(tmp_path / "twins.csv", ImportOptions(images=tmp_path), catalogue)
    encoder, report = ColourEncoder(), BuildReport()
    seen: list[tuple[int, int]] = []
    manifest = await build_snapshot(
        catalogue,
        encoder,
        PREPROCESSOR,
        tmp_path,
        on_progress=lambda done, total: seen.append((done, total)),
        report=report,
    )
    snapshot = open_snapshot(manifest, tmp_path)
    assert seen[-1] == (PRODUCTS + 1, PRODUCTS + 1)
    assert snapshot.rows.product_ids[-5:] == tuple(f"twin{number}" for number in range(5))
    embeddings = embeddings_of(snapshot)
    assert np.array_equal(embeddings[-5:], embeddings[[0, 2, 3, 4, 5]])
    assert report.owners.shared().products == 10
    assert report.owners.shared().examples[0] == ("p00", "twin0")


async def test_an_empty_catalogue_is_not_built(database: Database, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="empty") as caught:
        await build_snapshot(ProductStore(database), ColourEncoder(), PREPROCESSOR, tmp_path)
    assert "catalog import" in caught.value.hint


async def test_a_missing_image_ends_the_build_and_names_the_product(catalogue: ProductStore, tmp_path: Path) -> None:
    view = (await catalogue.get_many(["p07"]))["p07"].views[0]
    await catalogue.database.images.delete_one({"_id": view.image})
    with pytest.raises(CatalogError, match="image of product 'p07' is gone"):
        await build_snapshot(catalogue, ColourEncoder(), PREPROCESSOR, tmp_path)


class BrokenEncoder(ColourEncoder):
    """Answers once, then is unavailable."""

    async def embed(self, pixels: Pixels) -> Embeddings:
        """Like `ImageEncoder.embed`."""
        if self.largest_batch:
            raise TritonUnavailableError("Triton is unavailable")
        return await super().embed(pixels)


async def test_an_error_of_the_model_ends_the_build_unchanged(catalogue: ProductStore, tmp_path: Path) -> None:
    with pytest.raises(TritonUnavailableError):
        await build_snapshot(catalogue, BrokenEncoder(), PREPROCESSOR, tmp_path)


async def test_a_loaded_snapshot_decides_like_the_built_one(
    database: Database, stored: Snapshot, tmp_path: Path
) -> None:
    loaded = await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")
    assert loaded.manifest == stored.manifest
    asked = unit_rows(10, stored.manifest.dimension, seed=5)
    assert Matcher(loaded).match(asked) == Matcher(stored).match(asked)


async def test_a_snapshot_on_disk_is_not_downloaded_again(database: Database, stored: Snapshot, tmp_path: Path) -> None:
    await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")
    await database["snapshots.chunks"].delete_many({})
    assert (await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")).manifest == stored.manifest


@pytest.mark.parametrize("name", [VECTORS_FILE, ROWS_FILE])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "deleted"])
async def test_a_damaged_local_file_is_downloaded_again(
    database: Database, stored: Snapshot, tmp_path: Path, name: str, damage: str
) -> None:
    await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")
    path = tmp_path / "cache" / stored.manifest.id / name
    intact = path.read_bytes()
    damaged = {"flipped": intact[:-1] + bytes([intact[-1] ^ 1]), "truncated": intact[:-9], "deleted": b""}[damage]
    path.write_bytes(damaged) if damaged else path.unlink()
    await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")
    assert path.read_bytes() == intact


async def test_a_damaged_file_in_mongodb_is_refused_and_leaves_nothing_of_it_on_disk(
    database: Database, stored: Snapshot, tmp_path: Path
) -> None:
    chunk = await database["snapshots.chunks"].find_one({"files_id": f"{stored.manifest.id}/{VECTORS_FILE}"})
    assert chunk is not None
    data = bytes(chunk["data"][:-1]) + bytes([chunk["data"][-1] ^ 1])
    await database["snapshots.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": data}})
    with pytest.raises(CatalogError, match=f"{VECTORS_FILE} of snapshot .* is missing or damaged in MongoDB") as caught:
        await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")
    assert "catalog build" in caught.value.hint
    assert [path.name for path in (tmp_path / "cache" / stored.manifest.id).iterdir()] == [ROWS_FILE]  # it is intact


async def test_a_file_that_is_missing_in_mongodb_is_refused(
    database: Database, stored: Snapshot, tmp_path: Path
) -> None:
    await database["snapshots.chunks"].delete_many({})
    with pytest.raises(CatalogError, match=f"snapshot {stored.manifest.id} is missing or damaged in MongoDB"):
        await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")


async def test_processes_that_start_together_can_share_the_folder(
    database: Database, stored: Snapshot, tmp_path: Path
) -> None:
    loaded = await asyncio.gather(
        *(load_snapshot(database, GridFsStorage(database), tmp_path / "cache") for _ in range(4))
    )
    assert all(snapshot.manifest == stored.manifest for snapshot in loaded)
    files = {path.name for path in (tmp_path / "cache" / stored.manifest.id).iterdir()}
    assert files == {VECTORS_FILE, ROWS_FILE}


async def test_activating_the_active_snapshot_again_changes_nothing(database: Database, stored: Snapshot) -> None:
    names = await read_names(database)
    assert names == SnapshotNames(1, active=stored.manifest.id)
    assert await activate(database, stored.manifest.id) == names
    assert await read_names(database) == names


async def test_a_stored_snapshot_is_not_active_until_it_is_activated(database: Database, tmp_path: Path) -> None:
    manifest = write_snapshot(tmp_path, unit_rows(2), ["a", "b"])
    await save_snapshot(database, GridFsStorage(database), manifest, tmp_path)
    assert await read_names(database) == SnapshotNames()
    assert await load_manifest(database, manifest.id) == manifest


async def test_without_an_index_the_error_says_how_to_build_one(database: Database, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no index yet") as caught:
        await load_snapshot(database, GridFsStorage(database), tmp_path)
    assert "framematch catalog build" in caught.value.hint


async def test_an_unknown_snapshot_is_neither_loaded_nor_activated(database: Database, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no snapshot 'x'"):
        await load_snapshot(database, GridFsStorage(database), tmp_path, "x")
    with pytest.raises(CatalogError, match="no snapshot 'x'"):
        await activate(database, "x")


async def test_a_damaged_manifest_is_refused(database: Database, stored: Snapshot, tmp_path: Path) -> None:
    await database.snapshots.update_one({"_id": stored.manifest.id}, {"$set": {"manifest.rows": "many"}})
    with pytest.raises(CatalogError, match=r"manifest of snapshot .* is damaged"):
        await load_snapshot(database, GridFsStorage(database), tmp_path)


async def test_a_manifest_with_a_path_as_its_id_is_refused(
    database: Database, stored: Snapshot, tmp_path: Path
) -> None:
    await database.snapshots.update_one({"_id": stored.manifest.id}, {"$set": {"manifest.id": "../outside"}})
    with pytest.raises(CatalogError, match="not one of ours"):
        await load_snapshot(database, GridFsStorage(database), tmp_path / "cache")
    assert not (tmp_path / "outside").exists()


async def test_a_folder_that_cannot_be_written_is_one_clear_error(
    database: Database, stored: Snapshot, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(CatalogError, match="cannot write") as caught:
        await load_snapshot(database, GridFsStorage(database), tmp_path / "cache", stored.manifest.id)
    assert caught.value.hint
