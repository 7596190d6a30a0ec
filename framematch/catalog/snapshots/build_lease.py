"""Says which snapshots are being built or deleted, so that the files of a killed process are found and deleted.

A lease is a document of the collection `snapshot_leases`. It is written before the first file of its snapshot, and
removed after the manifest. So a lease whose process is gone tells which files nobody needs.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.snapshots.snapshot import is_snapshot_id
from framematch.catalog.snapshots.storage import SnapshotStorage
from framematch.core.error_groups import ungrouped_errors
from framematch.core.errors import CatalogError, FramematchError, MongoUnavailableError
from framematch.core.local_stack import ProcessId, process_start

log = structlog.get_logger()

HEARTBEAT_S = 15.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
# Of a process on another host, or in another container. Clocks may differ by minutes.
EXPIRES_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class BuildLease:
    """The right to write the files of one snapshot."""

    database: Database
    snapshot_id: str

    async def check(self) -> None:
        """Check that no other build has taken this one for dead. Call it after the manifest is written.

        Whoever abandons a lease looks for the manifest afterwards, so either it finds the manifest, or this finds the
        lease abandoned.

        Raises:
            CatalogError: the files of this build may be deleted.
        """
        with mongo_errors("building a snapshot"):
            renewed = await self.database.snapshot_leases.update_one(
                {"_id": self.snapshot_id, "abandoned": False}, {"$set": {"at": _now()}}
            )
        if not renewed.matched_count:
            raise CatalogError(
                "another build took this one for dead, because it had not been heard of for "
                f"{EXPIRES_AFTER.seconds // 60} minutes",
                hint="Run 'framematch catalog build' again",
            )


@asynccontextmanager
async def lease_build(database: Database, storage: SnapshotStorage, snapshot_id: str) -> AsyncIterator[BuildLease]:
    """A lease inside the context, renewed by a task. After an error the snapshot's files are deleted.

    Raises:
        CatalogError: another build took this one for dead.
        MongoUnavailableError: MongoDB is unavailable.
    """
    lease = BuildLease(database, snapshot_id)
    with mongo_errors("building a snapshot"):
        await database.snapshot_leases.insert_one(_document(snapshot_id, storage))
    try:
        with ungrouped_errors():
            async with asyncio.TaskGroup() as group:
                ended = asyncio.Event()
                group.create_task(_renew(lease, ended))
                try:
                    yield lease
                finally:
                    ended.set()
    except BaseException:
        with suppress(FramematchError):  # else the next build does it
            await delete_without_manifest(database, storage, snapshot_id)
        raise
    with suppress(FramematchError):
        await _remove(database, snapshot_id)


async def abandon(database: Database, storage: SnapshotStorage, snapshot_id: str) -> None:
    """Say that the files of a snapshot are not needed without its manifest, which is going to be deleted."""
    document = {**_document(snapshot_id, storage), "abandoned": True}
    with mongo_errors("deleting a snapshot"):
        await database.snapshot_leases.replace_one({"_id": snapshot_id}, document, upsert=True)


async def delete_without_manifest(database: Database, storage: SnapshotStorage, snapshot_id: str) -> None:
    """Delete the files of a snapshot that nobody can find, and its lease; with a manifest, the lease alone."""
    with mongo_errors("deleting a snapshot"):
        manifest = await database.snapshots.find_one({"_id": snapshot_id}, {"_id": 1})
    if manifest is None:
        await storage.delete(snapshot_id)
    await _remove(database, snapshot_id)


async def leased_snapshots(database: Database) -> frozenset[str]:
    """The snapshots that are being built or deleted."""
    with mongo_errors("looking for builds"):
        return frozenset([str(lease["_id"]) async for lease in database.snapshot_leases.find({}, {"_id": 1})])


async def clean_up(database: Database, storage: SnapshotStorage) -> None:
    """Delete the files of builds that were killed. Those in another storage stay until it is used again."""
    with mongo_errors("looking for builds that were killed"):
        leases = await database.snapshot_leases.find({"storage": storage.name}).to_list()
    for lease in leases:
        if not (is_snapshot_id(lease["_id"]) and (lease.get("abandoned") is True or _is_dead(lease))):
            continue
        with mongo_errors("looking for builds that were killed"):
            # Only if it has not been renewed meanwhile.
            expired = {"_id": lease["_id"], "at": lease.get("at")}
            abandoned = await database.snapshot_leases.update_one(expired, {"$set": {"abandoned": True}})
        if abandoned.matched_count:
            await delete_without_manifest(database, storage, lease["_id"])
            log.info("snapshot_build_cleaned_up", snapshot=lease["_id"])


async def _renew(lease: BuildLease, ended: asyncio.Event) -> None:
    """Renew the lease until the build has ended. No cancellation: MongoDB's driver may make another error of it."""
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), HEARTBEAT_S)
            return
        with suppress(MongoUnavailableError):  # the build itself says so when it needs MongoDB
            await lease.check()


async def _remove(database: Database, snapshot_id: str) -> None:
    with mongo_errors("building a snapshot"):
        await database.snapshot_leases.delete_one({"_id": snapshot_id})


def _document(snapshot_id: str, storage: SnapshotStorage) -> Document:
    process = {"pid": os.getpid(), "start": process_start(os.getpid()), "host": _host()}
    return {"_id": snapshot_id, "storage": storage.name, "process": process, "at": _now(), "abandoned": False}


def _is_dead(lease: Document) -> bool:
    """Whether the process of a lease has ended, if that can be seen from here, or else its lease has expired."""
    match lease.get("process"):
        case {"pid": int(pid), "start": str(start), "host": host} if host == _host():
            return not ProcessId(pid, start).runs
    at = lease.get("at")
    return not isinstance(at, datetime) or _now() - at > EXPIRES_AFTER


def _host() -> str:
    """The boot of this machine, and the container: within both a process id means the same process."""
    return f"{_BOOT_ID.read_text(encoding='utf-8').strip()} {_PID_NAMESPACE.readlink()}"


def _now() -> datetime:
    return datetime.now(UTC)
