"""Keeps the files of snapshots in a folder, or in the object storage that a URL names, by fsspec."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from framematch.core.errors import (
    CatalogError,
    PrerequisiteError,
    SettingsError,
    StorageUnavailableError,
)
from framematch.core.redact import redact_url

P = ParamSpec("P")
T = TypeVar("T")

# A request for each: large enough that their number does not matter.
_READ_BYTES = 8_388_608
_EXTRAS = {"s3": "framematch[s3]", "s3a": "framematch[s3]"}
# s3fs itself repeats a request five times. Its own defaults wait 60 s for a connection, and repeat that too.
_S3_OPTIONS: dict[str, Any] = {
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 2}}
}
_CLIENT_ERROR = 4  # the first digit of the status
_TRY_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


class FsspecStorage:
    """The folder `SNAPSHOT/` for each snapshot below a root.

    Credentials come from where the storage's own client looks for them, such as `AWS_ACCESS_KEY_ID` and
    `AWS_ENDPOINT_URL`. fsspec's calls block, so they run in threads.
    """

    def __init__(self, files: Any, root: str, name: str) -> None:  # Any: fsspec has no types
        self._files = files
        self._root = root.rstrip("/")
        self._local = isinstance(files, LocalFileSystem)
        self.name = name
        """See `SnapshotStorage`."""

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the storage at a URL that fsspec knows, such as `s3://bucket/prefix`, or at a folder's path.

        Raises:
            SettingsError: fsspec knows no such storage.
            PrerequisiteError: its Python package is not installed.
        """
        protocol = url.partition("://")[0] if "://" in url else "file"
        options = _S3_OPTIONS if protocol in _EXTRAS else {}
        try:
            # No instance is shared: it would keep the credentials, and what it has listed.
            files, root = fsspec.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False, **options)
        except ImportError as error:
            raise PrerequisiteError(
                f"snapshots.url needs another Python package for {protocol}://: {error}",
                hint=f"Install it with: pip install '{_EXTRAS.get(protocol, 'fsspec[' + protocol + ']')}'",
            ) from error
        except ValueError as error:
            raise SettingsError(
                f"snapshots.url names no known storage: {redact_url(str(error))}",
                hint="Give a folder or s3://BUCKET/PREFIX",
            ) from None
        return cls(files, root, root if protocol == "file" else redact_url(url))

    async def put(self, snapshot_id: str, name: str, path: Path) -> None:
        """See `SnapshotStorage`. In a folder the file is renamed; object storage first gets an empty one.

        A server that refuses answers and closes the connection while a large body is still sent, and the client may
        find the closed connection before the answer. A refusal of an empty file is always read.
        """
        doing, target = "storing a snapshot", self._path(snapshot_id, name)
        try:
            if self._local:
                await self._call(doing, _copy_into_folder, str(path), target)
            else:
                await self._call(doing, self._files.pipe_file, target, b"")
                await self._call(doing, self._files.put_file, str(path), target)
        except FileNotFoundError as error:
            raise CatalogError(
                f"{self.name} cannot take a snapshot: {redact_url(str(error))}", hint="Create the bucket first"
            ) from error

    async def read(self, snapshot_id: str, name: str) -> AsyncGenerator[bytes, None]:
        """See `SnapshotStorage`."""
        doing = "fetching a snapshot"
        try:
            file = await self._call(doing, self._files.open, self._path(snapshot_id, name), "rb", cache_type="none")
        except FileNotFoundError:
            return
        try:
            while piece := await self._call(doing, file.read, _READ_BYTES):
                yield piece
        finally:
            await self._call(doing, file.close)

    async def delete(self, snapshot_id: str) -> None:
        """See `SnapshotStorage`."""
        try:
            await self._call("deleting a snapshot", self._files.rm, f"{self._root}/{snapshot_id}", recursive=True)
        except FileNotFoundError:
            return

    def _path(self, snapshot_id: str, name: str) -> str:
        return f"{self._root}/{snapshot_id}/{name}"

    async def _call(self, doing: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call of fsspec in a thread; `doing` completes "while …" in the message of an error.

        Raises:
            FileNotFoundError: there is no such file.
            CatalogError: the storage refuses, or the disk is full.
            StorageUnavailableError: any other error.
        """
        try:
            return await asyncio.to_thread(call, *args, **kwargs)
        except FileNotFoundError:
            raise
        except Exception as error:  # each storage raises the errors of its own client
            reason = redact_url(" ".join(str(error).split())) or type(error).__name__
            if _refused(error) or (self._local and isinstance(error, OSError)):
                raise CatalogError(
                    f"{self.name} refused while {doing}: {reason}", hint="Check space, rights and credentials"
                ) from error
            raise StorageUnavailableError(
                f"{self.name} is unavailable while {doing}: {reason}",
                hint="Check its address, and the credentials in the environment",
            ) from error


def _refused(error: Exception) -> bool:
    """Whether the storage answered that it will not do it; a later retry does not help.

    s3fs knows the error codes of AWS alone. Another storage's code is an OSError, whose cause has the status.
    """
    if isinstance(error, PermissionError | NotImplementedError):
        return True
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status // 100 == _CLIENT_ERROR and status not in _TRY_LATER


def _copy_into_folder(source: str, path: str) -> None:
    target = Path(path)
    temporary = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
