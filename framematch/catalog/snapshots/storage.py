"""Where the files of snapshots are kept: GridFS, a folder, or object storage."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Protocol

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage


class SnapshotStorage(Protocol):
    """The files of snapshots, each by the id of its snapshot and its name.

    It need neither write a file whole or not at all, nor find damage: a snapshot's manifest is written to MongoDB after
    all its files, and whoever reads a file compares it with the manifest.
    """

    @property
    def name(self) -> str:
        """What it is, for messages and logs; without secrets."""

    async def put(self, snapshot_id: str, name: str, path: Path) -> None:
        """Store the file at `path`, in pieces.

        Raises:
            UnavailableError: the storage does not answer.
            CatalogError: it refuses, or is full.
        """

    def read(self, snapshot_id: str, name: str) -> AsyncGenerator[bytes, None]:
        """The file's bytes in pieces of a few megabytes. A file that is missing has none.

        Raises:
            UnavailableError: the storage does not answer.
            CatalogError: it refuses.
        """

    async def delete(self, snapshot_id: str) -> None:
        """Delete all files of a snapshot, also those that are written in part.

        Raises:
            UnavailableError: the storage does not answer.
            CatalogError: it refuses.
        """


def open_storage(url: str | None, database: Database) -> SnapshotStorage:
    """The storage of the setting `snapshots.url`; None stands for GridFS in `database`.

    Raises:
        SettingsError: fsspec knows no such storage.
        PrerequisiteError: the Python package for this storage is not installed.
    """
    if url is None:
        return GridFsStorage(database)
    from framematch.catalog.snapshots.storage_fsspec import FsspecStorage  # noqa: PLC0415  # fsspec takes 10 ms

    return FsspecStorage.open(url)
