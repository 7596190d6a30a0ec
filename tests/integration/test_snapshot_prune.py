"""Pruning in a real MongoDB server: what no name, build or snapshot needs is deleted, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from framematch.catalog.embeddings.store import EmbeddingSpace, EmbeddingStore
from framematch.catalog.mongo import Database
from framematch.catalog.operations import prune as snapshot_prune
from framematch.catalog.operations.activation import activate
from framematch.catalog.operations.prune import Pruned, prune_snapshots
from framematch.catalog.products import Product, ProductStore, View
from framematch.catalog.snapshots.build_lease import lease_build
from framematch.catalog.snapshots.names import confirm_names, read_names, write_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage import SnapshotStorage, open_storage
from framematch.catalog.snapshots.store import load_snapshot, save_snapshot
from framematch.core.errors import CatalogError, StaleNamesError
from tests.unit.catalog.snapshots import unit_rows, write_snapshot

pytestmark = pytest.mark.integration

IMAGES = [f"{number:064x}" for number in range(3)]


@pytest.fixture
def storage(database: Database, tmp_path: Path) -> SnapshotStorage:
    return open_storage(str(tmp_path / "storage"), database)


class Shelf:
    """Stores snapshots with ids that end in their numbers."""

    def __init__(self, database: Database, storage: SnapshotStorage, folder: Path) -> None:
        self.database, self.storage, self.folder = database, storage, folder
        folder.mkdir()
        self.manifest = write_snapshot(folder, unit_rows(3), ["a", "b", "c"])
        self.space = EmbeddingSpace(self.manifest.model_digest, self.manifest.preprocessing_digest, 48)

    async def add(self, number: int, *, delta: int = 0, model_digest: str | None = None) -> SnapshotManifest:
        manifest = replace(
            self.manifest,
            id=snapshot_id(number),
            delta=delta,
            model_digest=model_digest or self.manifest.model_digest,
        )
        await save_snapshot(self.database, self.storage, manifest, self.folder)
        return manifest

    async def stored(self) -> list[int]:
        ids = {document["_id"] async for document in self.database.snapshots.find({})}
        assert {path.name for path in (self.folder.parent / "storage").iterdir()} == ids
        return sorted(int(each[-2:]) for each in ids)

    async def prune(self, keep: int = 0) -> Pruned:
        return await prune_snapshots(self.database, self.storage, keep=keep)


def snapshot_id(number: int) -> str:
    return f"20260101T000000Z-000000{number:02}"


@pytest.fixture
def shelf(database: Database, storage: SnapshotStorage, tmp_path: Path) -> Shelf:
    return Shelf(database, storage, tmp_path / "files")


async def test_snapshots_with_a_name_and_the_newest_others_stay(shelf: Shelf) -> None:
    for number in range(1, 8):
        await shelf.add(number)
    for number in (1, 2):
        await activate(shelf.database, snapshot_id(number))
    names = await read_names(shelf.database)
    await write_names(shelf.database, names, names.with_shadow(snapshot_id(3)))
    pruned = await shelf.prune(keep=1)
    assert pruned.snapshots == tuple(map(snapshot_id, (6, 5, 4)))
    assert await shelf.stored() == [1, 2, 3, 7]
    await load_snapshot(shelf.database, shelf.storage, shelf.folder.with_name("cache"))
    assert (await shelf.prune(keep=1)).snapshots == ()


async def test_a_snapshot_that_is_being_built_stays(shelf: Shelf) -> None:
    async with lease_build(shelf.database, shelf.storage, snapshot_id(1)):
        await shelf.add(1)
        assert await shelf.prune() == Pruned((), 0, 0)
    assert await shelf.stored() == [1]


async def test_a_build_that_was_killed_does_not_keep_anything(shelf: Shelf) -> None:
    await shelf.add(1)
    dead = {"_id": snapshot_id(1), "storage": shelf.storage.name, "process": None, "at": None, "abandoned": False}
    await shelf.database.snapshot_leases.insert_one(dead)
    assert (await shelf.prune()).snapshots == (snapshot_id(1),)
    assert await shelf.stored() == []


async def test_an_activation_that_was_prepared_before_cannot_be_written(shelf: Shelf) -> None:
    for number in (1, 2):
        await shelf.add(number)
    await activate(shelf.database, snapshot_id(1))
    prepared = await read_names(shelf.database)
    await shelf.prune()
    with pytest.raises(StaleNamesError):
        await write_names(shelf.database, prepared, prepared.with_active(snapshot_id(2)))
    with pytest.raises(CatalogError, match="there is no snapshot"):
        await activate(shelf.database, snapshot_id(2))


async def test_a_snapshot_that_gets_a_name_meanwhile_stays(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.add(1)

    async def activated_before(database: Database) -> object:
        names = await read_names(database)
        if await database.snapshots.count_documents({}) == 0:  # its manifest is withdrawn
            await write_names(database, names, names.with_active(snapshot_id(1)))
        return await confirm_names(database)

    monkeypatch.setattr(snapshot_prune, "confirm_names", activated_before)
    assert (await shelf.prune()).snapshots == ()
    assert await shelf.stored() == [1]


async def test_embeddings_of_unused_spaces_and_pictures_are_deleted(shelf: Shelf) -> None:
    database, used = shelf.database, shelf.space
    await ProductStore(database).upsert_many([Product("a", "Apple", views=(View(IMAGES[1], 4, 4),))])
    await shelf.add(1)
    spaces = [used, *(replace(used, model_digest=digest) for digest in ("00" * 32, "aa" * 32, "ac" * 32, "ff" * 32))]
    assert spaces[2].key < used.key < spaces[3].key
    for space in spaces:
        await EmbeddingStore(database, space).write(IMAGES, unit_rows(3))
    assert (await shelf.prune(keep=1)).embeddings == len(IMAGES) * len(spaces) - 1
    assert [document["_id"] async for document in database.embeddings.find({})] == [f"{used.key}/{IMAGES[1]}"]


async def test_embeddings_of_every_model_that_a_snapshot_has_stay(shelf: Shelf) -> None:
    database = shelf.database
    views = tuple(View(image, 4, 4) for image in IMAGES)
    await ProductStore(database).upsert_many([Product("a", "Apple", views=views)])
    for number, digest in enumerate(("00" * 32, "aa" * 32, "ff" * 32)):
        await shelf.add(number, model_digest=digest)
        await EmbeddingStore(database, replace(shelf.space, model_digest=digest)).write(IMAGES, unit_rows(3))
    assert (await shelf.prune(keep=3)).embeddings == 0
    assert (await shelf.prune(keep=2)).embeddings == len(IMAGES)


@pytest.mark.parametrize(("deltas", "left"), [((2, 4), [3, 4, 5]), ((5, 9), [5]), ((0, 5), [1, 2, 3, 4, 5])])
async def test_changes_that_all_snapshots_contain_are_deleted_but_the_newest(
    shelf: Shelf, deltas: tuple[int, ...], left: list[int]
) -> None:
    await shelf.database.delta.insert_many([{"_id": number} for number in range(1, 6)])
    for number, delta in enumerate(deltas):
        await shelf.add(number, delta=delta)
    pruned = await shelf.prune(keep=2)
    assert [document["_id"] async for document in shelf.database.delta.find({}).sort("_id", 1)] == left
    assert pruned.delta_entries == 5 - len(left)


async def test_without_a_snapshot_nothing_that_a_build_kept_is_deleted(shelf: Shelf) -> None:
    await EmbeddingStore(shelf.database, shelf.space).write(IMAGES, unit_rows(3))
    assert await shelf.prune() == Pruned((), 0, 0)


async def test_a_snapshot_of_another_version_is_deleted_too(shelf: Shelf) -> None:
    await shelf.add(1)
    await shelf.database.snapshots.update_many({}, {"$set": {"manifest": {"format_version": 1}}})
    assert (await shelf.prune()).snapshots == (snapshot_id(1),)
    assert await shelf.stored() == []
