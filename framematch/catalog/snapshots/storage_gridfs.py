"""Keeps the files of snapshots in MongoDB, by GridFS."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from gridfs.asynchronous import AsyncGridFSBucket

from framematch.catalog.mongo import Database, mongo_errors

_BUCKET = "snapshots"
# Larger than GridFS's default of 255 KB, as an index is always read whole.
_CHUNK_BYTES = 1_048_576
_AFTER_SLASH = chr(ord("/") + 1)


class GridFsStorage:
    """The bucket `snapshots` of one database. A file's id is `SNAPSHOT/NAME`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._files = database[f"{_BUCKET}.files"]
        self._chunks = database[f"{_BUCKET}.chunks"]

    @property
    def name(self) -> str:
        """See `SnapshotStorage`."""
        return "MongoDB"

    async def put(self, snapshot_id: str, name: str, path: Path) -> None:
        """See `SnapshotStorage`; the driver holds up to 48 MB at a time."""
        bucket = AsyncGridFSBucket(self._database, _BUCKET, chunk_size_bytes=_CHUNK_BYTES)
        file = await asyncio.to_thread(path.open, "rb")
        with file, mongo_errors("storing a snapshot"):
            await bucket.upload_from_stream_with_id(f"{snapshot_id}/{name}", name, file)

    async def read(self, snapshot_id: str, name: str) -> AsyncGenerator[bytes, None]:
        """See `SnapshotStorage`.

        Each chunk is one query: GridFS's own stream asks for all chunks, and the local stack's server answers a query
        with all documents at once, while a driver takes 48 MB.
        """
        number = 0
        while isinstance(data := await self._chunk(f"{snapshot_id}/{name}", number), bytes):
            yield data
            number += 1

    async def delete(self, snapshot_id: str) -> None:
        """See `SnapshotStorage`; an upload that was killed has left chunks without a file."""
        start, end = f"{snapshot_id}/", f"{snapshot_id}{_AFTER_SLASH}"
        with mongo_errors("deleting a snapshot"):
            await self._files.delete_many({"_id": {"$gte": start, "$lt": end}})
            await self._chunks.delete_many({"files_id": {"$gte": start, "$lt": end}})

    async def _chunk(self, file_id: str, number: int) -> Any:
        """The chunk's bytes, or whatever stands there; None without the chunk."""
        with mongo_errors("fetching a snapshot"):
            document = await self._chunks.find_one({"files_id": file_id, "n": number})
        return document and document.get("data")
