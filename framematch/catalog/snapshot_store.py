"""Stores snapshots in MongoDB, and downloads them to local disk, verified."""

import asyncio
import hashlib
import math
import os
import uuid
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from gridfs.asynchronous import AsyncGridFSBucket
from gridfs.errors import NoFile

from framematch.catalog.mongo import Database, Document, mongo_errors
from framematch.catalog.snapshot import (
    REBUILD_HINT,
    FileInfo,
    Snapshot,
    SnapshotManifest,
    check_manifest,
    is_intact,
    open_snapshot,
)
from framematch.catalog.snapshot_names import read_names
from framematch.catalog.values import FieldReader
from framematch.core.errors import CatalogError

log = structlog.get_logger()

_BUCKET = "snapshots"
# Larger than GridFS's default of 255 KB, as an index is always read whole.
_CHUNK_BYTES = 1_048_576


async def save_snapshot(database: Database, manifest: SnapshotManifest, folder: Path) -> None:
    """Store the snapshot whose files are in `folder`. Its manifest is written last, so what can be found is complete.

    Raises:
        MongoUnavailableError: MongoDB became unavailable; the files written so far are not visible.
    """
    bucket = AsyncGridFSBucket(database, _BUCKET, chunk_size_bytes=_CHUNK_BYTES)
    with mongo_errors("storing a snapshot"):
        for name in manifest.files:
            with (folder / name).open("rb") as file:
                await bucket.upload_from_stream_with_id(_file_id(manifest, name), name, file)
        await database.snapshots.insert_one({"_id": manifest.id, "manifest": msgspec.to_builtins(manifest)})
    log.info("snapshot_stored", snapshot=manifest.id, rows=manifest.rows)


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


async def load_snapshot(database: Database, cache_dir: Path, snapshot_id: str | None = None) -> Snapshot:
    """Load the snapshot with this id, or the active one, from the cache `cache_dir/<id>/`.

    A file that is missing or damaged there is downloaded to a temporary file, synced, verified and renamed. Processes
    may share the folder. Only files with the SHA-256 of the manifest are read.

    Raises:
        CatalogError: no snapshot is active, or it is unknown, or damaged in MongoDB.
        MongoUnavailableError: MongoDB became unavailable.
    """
    if snapshot_id is None:
        snapshot_id = (await read_names(database)).active
    if snapshot_id is None:
        raise CatalogError("the catalogue has no index yet", hint=REBUILD_HINT)
    manifest = await load_manifest(database, snapshot_id)
    folder = cache_dir / manifest.id
    for name, info in manifest.files.items():
        if not await asyncio.to_thread(is_intact, folder / name, info):
            await _fetch(database, manifest, name, info, folder)
    return await asyncio.to_thread(open_snapshot, manifest, folder)


async def _fetch(database: Database, manifest: SnapshotManifest, name: str, info: FileInfo, folder: Path) -> None:
    temporary = folder / f".{name}-{uuid.uuid4().hex}"
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        if not await _download(database, _file_id(manifest, name), info, temporary):
            raise CatalogError(f"{name} of snapshot {manifest.id} is damaged in MongoDB", hint=REBUILD_HINT)
        temporary.replace(folder / name)
    except OSError as error:
        raise CatalogError(f"cannot write {folder / name}: {error.strerror}", hint="Check space and rights") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    log.info("snapshot_file_fetched", snapshot=manifest.id, file=name, bytes=info.bytes)


async def _download(database: Database, file_id: str, info: FileInfo, path: Path) -> bool:
    """Write the stored file to `path` and sync it; False when it does not agree with `info`."""
    digest = hashlib.sha256()
    with mongo_errors("fetching a snapshot"), path.open("wb") as file:
        try:
            stream = await AsyncGridFSBucket(database, _BUCKET).open_download_stream(file_id)
            if stream.length != info.bytes:
                return False
            chunks = database[f"{_BUCKET}.chunks"]
            for number in range(math.ceil(info.bytes / stream.chunk_size)):
                # The stream itself would ask for all chunks, and the local stack's server answers with all at once:
                # a driver takes 48 MB.
                if (document := await chunks.find_one({"files_id": file_id, "n": number})) is None:
                    return False
                digest.update(document["data"])
                file.write(document["data"])
        # A document of the file may lack a field, or have a wrong value in it.
        except (NoFile, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return False
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return digest.hexdigest() == info.sha256


def _file_id(manifest: SnapshotManifest, name: str) -> str:
    return f"{manifest.id}/{name}"


def _unknown(snapshot_id: str) -> CatalogError:
    return CatalogError(f"there is no snapshot {snapshot_id!r}", hint=REBUILD_HINT)
