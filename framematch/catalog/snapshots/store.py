"""Stores snapshots, and fetches them to local disk, verified."""

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import structlog

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.snapshots.cache import delete_unused, mark_used
from framematch.catalog.snapshots.names import read_names
from framematch.catalog.snapshots.snapshot import (
    REBUILD_HINT,
    ROWS_FILE,
    FileInfo,
    RowTable,
    Snapshot,
    SnapshotManifest,
    check_manifest,
    is_intact,
    open_snapshot,
    read_rows,
)
from framematch.catalog.snapshots.storage import SnapshotStorage
from framematch.catalog.values import FieldReader
from framematch.core.errors import CatalogError

log = structlog.get_logger()


async def save_snapshot(database: Database, storage: SnapshotStorage, manifest: SnapshotManifest, folder: Path) -> None:
    """Store the snapshot whose files are in `folder`. Its manifest is written last, so what can be found is complete.

    Raises:
        UnavailableError: MongoDB or the storage became unavailable; the files written so far are not visible.
        CatalogError: one of them refused.
    """
    for name in manifest.files:
        await storage.put(manifest.id, name, folder / name)
    with mongo_errors("storing a snapshot"):
        await database.snapshots.insert_one({"_id": manifest.id, "manifest": msgspec.to_builtins(manifest)})
    log.info("snapshot_stored", snapshot=manifest.id, rows=manifest.rows, storage=storage.name)


async def stored_ids(database: Database) -> list[Any]:
    """The ids of all snapshots, the newest first. One that another program wrote may be of any type.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    with mongo_errors("listing snapshots"):
        return [document["_id"] async for document in database.snapshots.find({}, {"_id": 1}).sort("_id", -1)]


async def load_manifest(database: Database, snapshot_id: str) -> SnapshotManifest:
    """The manifest of a stored snapshot.

    Raises:
        CatalogError: there is no such snapshot, or this version cannot use it, or its manifest is damaged.
    """
    with mongo_errors("reading a snapshot's manifest"):
        document = await database.snapshots.find_one({"_id": snapshot_id})
    if document is None:
        raise _unknown(snapshot_id)
    return to_manifest(snapshot_id, document)


def to_manifest(snapshot_id: str, document: Document) -> SnapshotManifest:
    """The manifest in a document of the collection `snapshots`.

    Raises:
        CatalogError: this version cannot use it, or it is damaged.
    """
    try:
        # As JSON has them: no NaN among the thresholds.
        manifest = msgspec.convert(FieldReader(document).json_object("manifest"), type=SnapshotManifest)
    except msgspec.ValidationError as error:
        raise CatalogError(f"the manifest of snapshot {snapshot_id} is damaged: {error}", hint=REBUILD_HINT) from error
    check_manifest(manifest)
    if manifest.id != snapshot_id:
        raise CatalogError(f"the manifest of snapshot {snapshot_id} is of {manifest.id}", hint=REBUILD_HINT)
    return manifest


async def load_snapshot(
    database: Database, storage: SnapshotStorage, cache_dir: Path, snapshot_id: str | None = None
) -> Snapshot:
    """Load the snapshot with this id, or the active one, from the cache `cache_dir/<id>/`.

    A file that is missing or damaged there is fetched to a temporary file, synced, verified and renamed. Processes may
    share the folder. Only files with the SHA-256 of the manifest are read. Before a new snapshot is fetched, those
    that were deleted in MongoDB, and that nobody has used for days, are removed from the cache.

    Raises:
        CatalogError: no snapshot is active, or it is unknown, or damaged in the storage.
        UnavailableError: MongoDB or the storage became unavailable.
    """
    if snapshot_id is None:
        snapshot_id = (await read_names(database)).active
    if snapshot_id is None:
        raise CatalogError("the catalogue has no index yet", hint=REBUILD_HINT)
    manifest = await load_manifest(database, snapshot_id)
    folder = cache_dir / manifest.id
    if not await asyncio.to_thread(folder.exists):
        await asyncio.to_thread(delete_unused, cache_dir, set(map(str, await stored_ids(database))))
    for name in manifest.files:
        await _fetch_missing(storage, manifest, name, folder)
    mark_used(folder)
    return await asyncio.to_thread(open_snapshot, manifest, folder)


async def load_rows(storage: SnapshotStorage, cache_dir: Path, manifest: SnapshotManifest) -> RowTable:
    """The rows of a snapshot alone, from the same cache as `load_snapshot`.

    Raises:
        CatalogError: the file is damaged, or cannot be written to the cache.
        UnavailableError: the storage became unavailable.
    """
    folder = cache_dir / manifest.id
    await _fetch_missing(storage, manifest, ROWS_FILE, folder)
    return await asyncio.to_thread(read_rows, manifest, folder)


async def _fetch_missing(storage: SnapshotStorage, manifest: SnapshotManifest, name: str, folder: Path) -> None:
    if not await asyncio.to_thread(is_intact, folder / name, manifest.files[name]):
        await _fetch(storage, manifest, name, folder)


async def _fetch(storage: SnapshotStorage, manifest: SnapshotManifest, name: str, folder: Path) -> None:
    info, temporary = manifest.files[name], folder / f".{name}-{uuid.uuid4().hex}"
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            async with aclosing(storage.read(manifest.id, name)) as pieces:
                fetched = await _write_pieces(pieces, file, info.bytes)
        if fetched != info:
            raise CatalogError(
                f"{name} of snapshot {manifest.id} is missing or damaged in {storage.name}", hint=REBUILD_HINT
            )
        temporary.replace(folder / name)
    except OSError as error:
        raise CatalogError(f"cannot write {folder / name}: {error.strerror}", hint="Check space and rights") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    log.info("snapshot_file_fetched", snapshot=manifest.id, file=name, bytes=info.bytes, storage=storage.name)


async def _write_pieces(pieces: AsyncIterator[bytes], file: BinaryIO, max_bytes: int) -> FileInfo:
    """Write and sync the pieces, up to the first that exceeds `max_bytes`; returns what was written."""
    digest, size = hashlib.sha256(), 0
    async for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            break
        await asyncio.to_thread(_write, file, digest, piece)
    await asyncio.to_thread(_sync, file)
    return FileInfo(digest.hexdigest(), size)


def _write(file: BinaryIO, digest: Any, piece: bytes) -> None:
    file.write(piece)
    digest.update(piece)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _unknown(snapshot_id: str) -> CatalogError:
    return CatalogError(f"there is no snapshot {snapshot_id!r}", hint=REBUILD_HINT)
