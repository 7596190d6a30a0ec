"""Leases of builds in a real MongoDB server: which files are left over, and which a build still writes."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots import build_lease
from framematch.catalog.snapshots.build_lease import EXPIRES_AFTER, abandon, clean_up, lease_build
from framematch.catalog.snapshots.storage import SnapshotStorage, open_storage
from framematch.core.errors import CatalogError
from tests.support import eventually

pytestmark = pytest.mark.integration

SNAPSHOT = "20260101T000000Z-00000000"
ELSEWHERE = {"pid": 1, "start": "another boot 1", "host": "another boot pid:[4026531836]"}


@pytest.fixture
def storage(database: Database, tmp_path: Path) -> SnapshotStorage:
    return open_storage(str(tmp_path / "storage"), database)


async def put_file(storage: SnapshotStorage, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows")
    await storage.put(SNAPSHOT, "rows", tmp_path / "rows")


async def has_file(storage: SnapshotStorage) -> bool:
    return [piece async for piece in storage.read(SNAPSHOT, "rows")] != []


async def set_lease(database: Database, **fields: Any) -> None:
    await database.snapshot_leases.update_one({"_id": SNAPSHOT}, {"$set": fields}, upsert=True)


async def leases(database: Database) -> int:
    return await database.snapshot_leases.count_documents({})


async def test_files_of_a_running_build_stay(database: Database, storage: SnapshotStorage, tmp_path: Path) -> None:
    async with lease_build(database, storage, SNAPSHOT) as lease:
        await put_file(storage, tmp_path)
        await clean_up(database, storage)
        await lease.check()
    assert await has_file(storage)
    assert await leases(database) == 0


async def test_files_of_a_process_that_has_ended_are_deleted(
    database: Database, storage: SnapshotStorage, tmp_path: Path
) -> None:
    async with lease_build(database, storage, SNAPSHOT):
        await put_file(storage, tmp_path)
        await set_lease(database, **{"process.start": "this boot 1"})  # an earlier process with the same id
        await clean_up(database, storage)
    assert not await has_file(storage)


async def test_files_of_a_build_on_another_host_stay_until_its_lease_expires(
    database: Database, storage: SnapshotStorage, tmp_path: Path
) -> None:
    async with lease_build(database, storage, SNAPSHOT):
        await put_file(storage, tmp_path)
        await set_lease(database, process=ELSEWHERE)
        await clean_up(database, storage)
        assert await has_file(storage)
        await set_lease(database, at=datetime.now(UTC) - EXPIRES_AFTER - timedelta(seconds=1))
        await clean_up(database, storage)
        assert not await has_file(storage)


async def test_a_build_that_was_taken_for_dead_ends_with_an_error(
    database: Database, storage: SnapshotStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_lease, "HEARTBEAT_S", 0.01)

    async def build() -> None:
        async with lease_build(database, storage, SNAPSHOT):
            await set_lease(database, abandoned=True)
            await asyncio.Event().wait()

    with pytest.raises(CatalogError, match="took this one for dead"):
        await build()


async def test_a_lease_is_renewed_while_its_build_runs(
    database: Database, storage: SnapshotStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_lease, "HEARTBEAT_S", 0.01)
    long_ago = datetime.now(UTC) - timedelta(days=1)

    async def is_renewed() -> bool:
        document = await database.snapshot_leases.find_one({"_id": SNAPSHOT})
        return document is not None and document["at"] > long_ago + timedelta(hours=1)

    async with lease_build(database, storage, SNAPSHOT):
        await set_lease(database, at=long_ago)
        await eventually(is_renewed)


async def test_an_error_of_the_build_deletes_its_files_and_is_raised_as_it_is(
    database: Database, storage: SnapshotStorage, tmp_path: Path
) -> None:
    async def build() -> None:
        async with lease_build(database, storage, SNAPSHOT):
            await put_file(storage, tmp_path)
            raise CatalogError("no apples")

    with pytest.raises(CatalogError, match="no apples"):
        await build()
    assert not await has_file(storage)
    assert await leases(database) == 0


async def test_files_with_a_manifest_stay_and_their_lease_goes(
    database: Database, storage: SnapshotStorage, tmp_path: Path
) -> None:
    await put_file(storage, tmp_path)
    await database.snapshots.insert_one({"_id": SNAPSHOT})
    await set_lease(database, storage=storage.name, process={"pid": os.getpid()}, at=None)
    await clean_up(database, storage)
    assert await has_file(storage)
    assert await leases(database) == 0


@pytest.mark.parametrize("snapshot_id", ["../..", "", ".", 7])
async def test_a_lease_of_no_snapshot_deletes_nothing(
    database: Database, storage: SnapshotStorage, tmp_path: Path, snapshot_id: object
) -> None:
    await put_file(storage, tmp_path)
    await database.snapshot_leases.insert_one({"_id": snapshot_id, "storage": storage.name, "abandoned": True})
    await clean_up(database, storage)
    assert await has_file(storage)


async def test_a_lease_for_another_storage_waits_for_it(
    database: Database, storage: SnapshotStorage, tmp_path: Path
) -> None:
    await put_file(storage, tmp_path)
    await set_lease(database, storage=storage.name, abandoned=True)
    await clean_up(database, open_storage(None, database))
    assert await has_file(storage)
    await clean_up(database, storage)
    assert not await has_file(storage)


@pytest.mark.parametrize("is_withdrawn", [True, False])
async def test_a_deletion_that_was_killed_is_completed_if_the_manifest_is_gone(
    database: Database, storage: SnapshotStorage, tmp_path: Path, is_withdrawn: bool
) -> None:
    await put_file(storage, tmp_path)
    await database.snapshots.insert_one({"_id": SNAPSHOT})
    await abandon(database, storage, SNAPSHOT)
    if is_withdrawn:
        await database.snapshots.delete_one({"_id": SNAPSHOT})
    await clean_up(database, storage)
    assert await has_file(storage) is not is_withdrawn
    assert await leases(database) == 0
