"""Files of snapshots in GridFS of a real MongoDB server, in a folder, and in a real S3-compatible server."""

import asyncio
import os
import re
import uuid
from pathlib import Path

import pytest

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.snapshot import ROWS_FILE, SnapshotManifest
from framematch.catalog.snapshots.storage import SnapshotStorage, open_storage
from framematch.catalog.snapshots.store import load_snapshot, save_snapshot
from framematch.core.errors import CatalogError, StorageUnavailableError
from framematch.vector_index.files import VECTORS_FILE
from tests.integration.s3_server import SECRET_KEY, S3Server
from tests.support import file_size_limit
from tests.unit.catalog.snapshots import unit_rows, write_snapshot

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # the S3 server is built at its first use

SNAPSHOT, OTHER = "20260101T000000Z-00000000", "20260101T000000Z-00000001"
LARGE_BYTES = 9_000_000  # several pieces in each storage
CONTENT = os.urandom(LARGE_BYTES)
_PROBLEM = b"<Error><Code>InvalidAccessKeyId</Code><Message>There is no key of that name</Message></Error>"
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_PROBLEM), _PROBLEM)


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new bucket; the environment has the server's address and credentials."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"b{uuid.uuid4().hex}"
    (s3_server.buckets / name).mkdir()
    return name


@pytest.fixture(params=["GridFS", "folder", "S3"])
def storage(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> SnapshotStorage:
    """An empty storage of each type."""
    match request.param:
        case "folder":
            return open_storage(str(tmp_path / "storage"), database)
        case "S3":
            return open_storage(f"s3://{request.getfixturevalue('bucket')}/snapshots", database)
    return open_storage(None, database)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(CONTENT)
    return path


async def read(storage: SnapshotStorage, snapshot_id: str, name: str) -> bytes:
    return b"".join([piece async for piece in storage.read(snapshot_id, name)])


async def test_a_file_is_read_back_byte_for_byte_in_pieces(storage: SnapshotStorage, large: Path) -> None:
    await storage.put(SNAPSHOT, "vectors", large)
    pieces = [piece async for piece in storage.read(SNAPSHOT, "vectors")]
    assert b"".join(pieces) == CONTENT
    assert len(pieces) > 1


async def test_a_file_that_is_missing_has_no_pieces(storage: SnapshotStorage) -> None:
    assert await read(storage, SNAPSHOT, "vectors") == b""


async def test_deleting_a_snapshot_deletes_its_files_alone(storage: SnapshotStorage, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows")
    for snapshot_id in (SNAPSHOT, OTHER):
        for name in ("rows", "more"):
            await storage.put(snapshot_id, name, tmp_path / "rows")
    await storage.delete(SNAPSHOT)
    assert [await read(storage, SNAPSHOT, name) for name in ("rows", "more")] == [b"", b""]
    assert await read(storage, OTHER, "rows") == b"rows"
    await storage.delete(SNAPSHOT)  # nothing is left to delete


async def test_chunks_of_an_upload_that_was_killed_are_deleted(database: Database) -> None:
    await database["snapshots.chunks"].insert_one({"files_id": f"{SNAPSHOT}/vectors", "n": 0, "data": b"half"})
    await open_storage(None, database).delete(SNAPSHOT)
    assert await database["snapshots.chunks"].count_documents({}) == 0


async def test_a_file_that_is_stored_again_replaces_the_old_one_and_leaves_nothing_else(
    database: Database, tmp_path: Path
) -> None:
    storage = open_storage((tmp_path / "storage").as_uri(), database)
    for content in (b"old", b"new"):
        (tmp_path / "rows").write_bytes(content)
        await storage.put(SNAPSHOT, "rows", tmp_path / "rows")
    assert await read(storage, SNAPSHOT, "rows") == b"new"
    assert [path.name for path in (tmp_path / "storage" / SNAPSHOT).iterdir()] == ["rows"]


async def test_an_upload_into_a_full_folder_is_one_clear_error_and_leaves_nothing(
    database: Database, tmp_path: Path, large: Path
) -> None:
    storage = open_storage(str(tmp_path / "storage"), database)
    with (
        file_size_limit(LARGE_BYTES // 2),
        pytest.raises(CatalogError, match=r"storage refused while storing a snapshot: .*File too large"),
    ):
        await storage.put(SNAPSHOT, "vectors", large)
    assert list((tmp_path / "storage" / SNAPSHOT).iterdir()) == []


async def test_a_bucket_that_does_not_exist_is_named(database: Database, bucket: str, large: Path) -> None:
    storage = open_storage(f"s3://{bucket}-none/snapshots", database)
    with pytest.raises(CatalogError, match=f"s3://{bucket}-none/snapshots cannot take a snapshot") as caught:
        await storage.put(SNAPSHOT, "vectors", large)
    assert "bucket" in caught.value.hint


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
async def test_wrong_credentials_are_one_clear_error_without_them(
    database: Database, bucket: str, large: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "canary-of-another-key")
    storage = open_storage(f"s3://{bucket}/snapshots", database)
    with pytest.raises(CatalogError, match=f"s3://{bucket}/snapshots refused while storing") as caught:
        await storage.put(SNAPSHOT, "vectors", large)
    assert "canary" not in f"{caught.value}"


async def test_the_answer_of_a_storage_that_refuses_before_it_has_read_a_large_file_is_given(
    database: Database, bucket: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"content-length: 0\r\n" in head.lower():
                writer.write(_FORBIDDEN)
                await writer.drain()
            else:
                writer.transport.abort()  # the answer is lost
        finally:
            writer.close()  # also of a connection on which nothing comes

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        storage = open_storage(f"s3://{bucket}/snapshots", database)
        with pytest.raises(CatalogError, match=r"refused while storing a snapshot: .*no key of that name"):
            await storage.put(SNAPSHOT, "vectors", large)


async def test_a_storage_that_does_not_answer_is_retriable_and_named_without_secrets(
    database: Database, bucket: str, large: Path, dead_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{dead_address}")
    storage = open_storage(f"s3://{bucket}/snapshots", database)
    with pytest.raises(
        StorageUnavailableError, match=f"s3://{bucket}/snapshots is unavailable while storing"
    ) as caught:
        await storage.put(SNAPSHOT, "vectors", large)
    assert SECRET_KEY not in f"{caught.value}"


@pytest.fixture
async def stored(storage: SnapshotStorage, database: Database, tmp_path: Path) -> SnapshotManifest:
    """A snapshot in the storage, whose files are in `files`."""
    (tmp_path / "files").mkdir()
    manifest = write_snapshot(tmp_path / "files", unit_rows(4), ["a", "b", "c", "d"])
    await save_snapshot(database, storage, manifest, tmp_path / "files")
    return manifest


async def replace_file(storage: SnapshotStorage, folder: Path, content: bytes) -> None:
    await storage.delete(SNAPSHOT)
    (folder / VECTORS_FILE).write_bytes(content)
    for name in (VECTORS_FILE, ROWS_FILE):
        await storage.put(SNAPSHOT, name, folder / name)


@pytest.mark.parametrize("damage", ["flipped", "longer", "empty"])
async def test_a_damaged_file_is_refused_from_every_storage(
    storage: SnapshotStorage, stored: SnapshotManifest, database: Database, tmp_path: Path, damage: str
) -> None:
    assert stored.id == SNAPSHOT
    good = (tmp_path / "files" / VECTORS_FILE).read_bytes()
    bad = {"flipped": good[:-1] + bytes([good[-1] ^ 1]), "longer": good + CONTENT, "empty": b""}[damage]
    await replace_file(storage, tmp_path / "files", bad)
    refused = f"{VECTORS_FILE} of snapshot {SNAPSHOT} is missing or damaged in {storage.name}"
    with pytest.raises(CatalogError, match=re.escape(refused)):
        await load_snapshot(database, storage, tmp_path / "cache", SNAPSHOT)
    assert VECTORS_FILE not in "".join(path.name for path in (tmp_path / "cache" / SNAPSHOT).iterdir())
    await replace_file(storage, tmp_path / "files", good)
    (await load_snapshot(database, storage, tmp_path / "cache", SNAPSHOT)).index.close()


@pytest.mark.usefixtures("stored")
async def test_a_full_cache_disk_is_one_clear_error_and_leaves_no_file(
    storage: SnapshotStorage, database: Database, tmp_path: Path
) -> None:
    refused = pytest.raises(CatalogError, match=r"cannot write .*/cache/.*: File too large")
    with file_size_limit(400), refused:
        await load_snapshot(database, storage, tmp_path / "cache", SNAPSHOT)
    assert {path.name for path in (tmp_path / "cache" / SNAPSHOT).iterdir()} <= {ROWS_FILE}


async def test_a_fetched_snapshot_needs_no_storage(
    storage: SnapshotStorage, stored: SnapshotManifest, database: Database, tmp_path: Path
) -> None:
    (await load_snapshot(database, storage, tmp_path / "cache", SNAPSHOT)).index.close()
    await storage.delete(SNAPSHOT)
    again = await load_snapshot(database, storage, tmp_path / "cache", SNAPSHOT)
    assert again.manifest == stored
    again.index.close()
