"""The files of operations in MongoDB (GridFS): what was uploaded for an import, what an export has written."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from gridfs.asynchronous import AsyncGridFSBucket

from framematch.catalog.mongo import Database, mongo_errors

FileName = Literal["upload", "content"]

_BUCKET: Final = "operation_files"
_CHUNK_BYTES: Final = 1_048_576
_ORPHAN_AGE: Final = timedelta(days=1)  # of an upload without an operation: its client has gone


@dataclass(frozen=True)
class WrittenFile:
    """A file's size, and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


class OperationFiles:
    """The bucket `operation_files`. A file's id is `OWNER/NAME`; the owner is an operation, or one upload."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._files = database[f"{_BUCKET}.files"]
        self._chunks = database[f"{_BUCKET}.chunks"]

    async def write(self, owner: str, name: FileName, pieces: AsyncIterable[bytes]) -> WrittenFile:
        """Write a file of any size; one megabyte is in memory. One that exists, also in part, is replaced.

        Raises:
            MongoUnavailableError: MongoDB became unavailable; the file is not visible.
        """
        file_id = f"{owner}/{name}"
        await self._delete([file_id])
        bucket = AsyncGridFSBucket(self._database, _BUCKET, chunk_size_bytes=_CHUNK_BYTES)
        digest, size = hashlib.sha256(), 0
        with mongo_errors("writing a file of an operation"):
            stream = bucket.open_upload_stream_with_id(file_id, name)
            try:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    await stream.write(piece)
            except BaseException:
                await stream.abort()
                raise
            await stream.close()
        return WrittenFile(size, digest.hexdigest())

    async def read(self, owner: str, name: FileName) -> AsyncGenerator[bytes, None]:
        """The file's bytes, a megabyte at a time; a file that is missing has none.

        Each chunk is one query: GridFS's own stream asks for all, and the local stack's server answers a query with all
        documents at once.
        """
        number = 0
        while isinstance(data := await self._chunk(f"{owner}/{name}", number), bytes):
            yield data
            number += 1

    async def fetch(self, owner: str, name: FileName, path: Path) -> None:
        """Write the file to local disk."""
        with path.open("wb") as file:
            async with aclosing(self.read(owner, name)) as pieces:
                async for piece in pieces:
                    file.write(piece)

    async def exists(self, owner: str, name: FileName) -> bool:
        """Whether the file is there, whole."""
        with mongo_errors("looking for a file of an operation"):
            return await self._files.find_one({"_id": f"{owner}/{name}"}, {"_id": 1}) is not None

    async def delete(self, *owners: str) -> None:
        """Delete all files of these owners."""
        await self._delete([f"{one}/{name}" for one in owners for name in ("upload", "content")])

    async def orphans(self) -> list[str]:
        """The owners of files of more than a day ago."""
        old = {"uploadDate": {"$lt": datetime.now(UTC) - _ORPHAN_AGE}}
        with mongo_errors("looking for old files of operations"):
            files = self._files.find(old, {"_id": 1})
            return sorted({str(document["_id"]).partition("/")[0] async for document in files})

    async def _delete(self, file_ids: list[str]) -> None:
        with mongo_errors("deleting a file of an operation"):
            await self._files.delete_many({"_id": {"$in": file_ids}})
            await self._chunks.delete_many({"files_id": {"$in": file_ids}})

    async def _chunk(self, file_id: str, number: int) -> Any:
        with mongo_errors("reading a file of an operation"):
            document = await self._chunks.find_one({"files_id": file_id, "n": number})
        return document and document.get("data")
