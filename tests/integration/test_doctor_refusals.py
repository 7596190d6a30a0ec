"""When catalogue, index or model make a consumer refuse to start, `framematch doctor` says no, in the same words."""

import asyncio
import hashlib
import re
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
import pytest
from gridfs.asynchronous import AsyncGridFSBucket
from pydantic import SecretStr

from consumers.service import run_consumer
from demo.dataset import BUNDLE_DIR
from framematch.catalog.mongo import Database, connect
from framematch.catalog.products import Product, ProductStore
from framematch.catalog.snapshots.serving_status import RefusedSnapshot, ServingStatus, write_status
from framematch.catalog.snapshots.snapshot import ROWS_FILE, FileInfo, SnapshotManifest
from framematch.catalog.snapshots.thresholds import ThresholdEstimate
from framematch.cli.doctor_matching import check_matching
from framematch.cli.finding import Finding
from framematch.core.errors import FramematchError
from framematch.core.settings import Settings
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from framematch.vector_index.description import FLAT
from framematch.vector_index.files import VECTORS_FILE
from framematch.vision.encoder import ImageEncoder
from framematch.vision.manifest import ModelManifest
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import make_snapshot, row_table, unit_rows, write_snapshot

pytestmark = pytest.mark.integration

IDS = ("a", "b", "c", "d")
NOT_READY_S = 0.5


@pytest.fixture(scope="module")
def triton(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    repository = tmp_path_factory.mktemp("repository")
    build_model_repository(load_bundle(BUNDLE_DIR), repository, BuildOptions(max_batch_size=4))
    return start_triton(repository)


@dataclass
class Site:
    """A database with an index that a consumer accepts, and the served model."""

    database: Database
    settings: Settings
    model: ModelManifest
    state: Path

    @property
    def embeddings(self) -> np.ndarray:
        return unit_rows(len(IDS), self.model.dimension)

    def manifest(self, files: Mapping[str, bytes]) -> SnapshotManifest:
        preprocessing = Preprocessor(self.model.preprocess, "fast").digest
        made = make_snapshot(self.embeddings, IDS).manifest
        described = {name: FileInfo(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
        return replace(made, model_digest=self.model.digest, preprocessing_digest=preprocessing, files=described)

    async def store(self, files: Mapping[str, bytes], **changes: Any) -> None:
        """Store these files and make them active; the manifest has their checksums, and `changes`."""
        manifest = {**msgspec.to_builtins(self.manifest(files)), **changes}
        bucket = AsyncGridFSBucket(self.database, "snapshots")
        for name, data in files.items():
            await bucket.upload_from_stream_with_id(f"{manifest['id']}/{name}", name, data)
        await self.database.snapshots.insert_one({"_id": manifest["id"], "manifest": manifest})
        await self.activate(manifest["id"])

    async def name(self, **names: str) -> None:
        """Give snapshots these names too."""
        await self.database.meta.update_one({"_id": "snapshot_names"}, {"$set": names})

    async def activate(self, snapshot: object) -> None:
        document = {"_id": "snapshot_names", "active": snapshot, "version": 1}
        await self.database.meta.replace_one({"_id": "snapshot_names"}, document, upsert=True)

    def files(self) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            names = write_snapshot(Path(folder), self.embeddings, IDS).files
            return {name: (Path(folder) / name).read_bytes() for name in names}


@pytest.fixture
async def site(
    mongodb: MongoServer, triton: TritonServer, dead_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(tmp_path / "state"))
    name = f"doctor_{uuid.uuid4().hex}"
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": dead_address},
            "triton": {"url": triton.url, "timeout_s": 5},
            "mongodb": {"uri": mongodb.uri, "database": name, "timeout_s": 5},
        }
    )
    async with await connect(mongodb.uri) as client, await ImageEncoder.connect(triton.url) as encoder:
        yield Site(client[name], settings, encoder.manifest, tmp_path / "state")
        await client.drop_database(name)


async def refusals(site: Site) -> tuple[str, list[Finding]]:
    """Why a consumer refuses to start, and the doctor's findings with `no`."""
    with pytest.raises(FramematchError) as refused:
        await run_consumer(site.settings, asyncio.Event())
    return refused.value.message, [finding for finding in await check_matching(site.settings) if finding.ok is False]


Break = Callable[[Site], Awaitable[None]]


async def no_index(_: Site) -> None:
    """Nothing was built."""


async def unknown_snapshot(site: Site) -> None:
    await site.activate("20200101T000000Z-none")


async def damaged_names(site: Site) -> None:
    await site.activate(7)


def manifest_with(**changes: Any) -> Break:
    async def break_it(site: Site) -> None:
        await site.store(site.files(), **changes)

    return break_it


def files_with(change: Callable[[Site, dict[str, bytes]], None]) -> Break:
    """Files that are not what a build writes, with the right checksums, as from somebody who can write to MongoDB."""

    async def break_it(site: Site) -> None:
        files = site.files()
        change(site, files)
        await site.store(files)

    return break_it


def stored_with(change: Callable[[Database], Awaitable[Any]]) -> Break:
    """Damage in MongoDB, after everything was stored."""

    async def break_it(site: Site) -> None:
        await site.store(site.files())
        await change(site.database)

    return break_it


async def flip_a_bit(database: Database) -> None:
    chunk = await database["snapshots.chunks"].find_one({"files_id": {"$regex": VECTORS_FILE}})
    assert chunk
    data = bytes(chunk["data"][:-1]) + bytes([chunk["data"][-1] ^ 1])
    await database["snapshots.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": data}})


def other_type(site: Site, files: dict[str, bytes]) -> None:
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(site.model.dimension), site.model.dimension, 1)
    index.train(site.embeddings)
    index.add(site.embeddings)
    files[VECTORS_FILE] = faiss.serialize_index(index).tobytes()


def not_a_number(site: Site, files: dict[str, bytes]) -> None:
    row_bytes = 4 * site.model.dimension
    data = bytearray(files[VECTORS_FILE])
    data[-3 * row_bytes : -3 * row_bytes + 4] = np.float32(np.nan).tobytes()  # of row 1 of 4
    files[VECTORS_FILE] = bytes(data)


def fewer_products(_: Site, files: dict[str, bytes]) -> None:
    files[ROWS_FILE] = msgspec.json.encode(row_table(IDS[:-1]))


def no_rows(_: Site, files: dict[str, bytes]) -> None:
    files[ROWS_FILE] = b"{}"


async def no_folder(site: Site) -> None:
    await site.store(site.files())
    site.state.write_text("a file, no folder")


BREAKS: dict[str, tuple[Break, str]] = {
    "no index": (no_index, "has no index yet"),
    "an unknown snapshot": (unknown_snapshot, "there is no snapshot '20200101T000000Z-none'"),
    "damaged names": (
        damaged_names,
        "document 'snapshot_names' of the collection meta is damaged",
    ),
    "a damaged manifest": (manifest_with(rows="many"), "manifest of snapshot .* is damaged"),
    "a later format": (manifest_with(format_version=9), "has format 9"),
    "impossible thresholds": (
        manifest_with(thresholds=msgspec.to_builtins(ThresholdEstimate(-0.1, 0.1, "quantile", 0.5, 1))),
        "has the thresholds match -0.100",
    ),
    "an index that finds too little": (
        manifest_with(index=msgspec.to_builtins(replace(FLAT, recall_at_1=0.5))),
        "finds 50.0% of what an exact search finds, less than 99%",
    ),
    "another model": (manifest_with(model_digest="cd" * 32), "has no model clip_image_cdcdcdcdcdcd"),
    "another preprocessing": (manifest_with(preprocessing_digest="cd" * 32), "was built with preprocessing"),
    "another number of rows": (manifest_with(rows=5), "does not have 5 rows"),
    "another number of products": (manifest_with(products=2), "does not have 2 products"),
    "another dimension": (manifest_with(dimension=7), "is no file of 4 x 7 values"),
    "a flipped bit": (stored_with(flip_a_bit), f"{VECTORS_FILE} of snapshot .* is missing or damaged in MongoDB"),
    "missing chunks": (
        stored_with(lambda db: db["snapshots.chunks"].delete_many({})),
        "is missing or damaged in MongoDB",
    ),
    "an index of another type": (files_with(other_type), "is no file of 4 x"),
    "a row that is no number": (files_with(not_a_number), "row 1 is no finite unit vector"),
    "a table of fewer rows": (files_with(fewer_products), "does not have 4 rows"),
    "a table without rows": (files_with(no_rows), "cannot be read"),
    "a folder that cannot be written": (no_folder, "cannot write"),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_what_a_consumer_refuses_is_a_no_of_the_doctor(site: Site, name: str) -> None:
    break_it, message = BREAKS[name]
    await break_it(site)
    refused, findings = await refusals(site)
    assert [(finding.part, finding.detail) for finding in findings if finding.part != "Products"] == [
        ("Model" if name == "another model" else "Index", refused)
    ]
    assert re.search(message, refused)
    assert findings[-1].hint


async def test_an_index_that_a_consumer_accepts_is_ok_and_its_thresholds_are_explained(site: Site) -> None:
    await site.store(site.files())
    found = {finding.part: finding for finding in await check_matching(site.settings)}
    assert {part for part, finding in found.items() if finding.ok is False} == {"Products"}  # none is imported
    assert found["Index"].ok is not False
    assert "match 0.500, margin 0.100: " in found["Thresholds"].detail
    assert "not known" in found["Thresholds"].detail


@pytest.mark.parametrize("part", ["Triton", "MongoDB"])
async def test_a_server_that_cannot_be_asked_is_a_no_and_the_rest_is_still_checked(
    site: Site, part: str, dead_address: str
) -> None:
    await site.store(site.files())
    triton, mongodb = site.settings.triton, site.settings.mongodb
    if part == "Triton":
        triton = triton.model_copy(update={"url": dead_address, "timeout_s": NOT_READY_S})
    else:
        # An address where nothing listens makes the driver leak a socket when it is closed while it tries again.
        mongodb = mongodb.model_copy(update={"uri": SecretStr("mongodb://user:p@ss@host")})
    site.settings = site.settings.model_copy(update={"triton": triton, "mongodb": mongodb})
    refused, findings = await refusals(site)
    waited = partial(re.sub, r"waited [0-9.]+ s", "waited")  # gRPC says how long, to the microsecond
    assert (part, waited(refused)) in [(finding.part, waited(finding.detail)) for finding in findings]
    assert {finding.part for finding in findings} <= {part, "Products"}


async def findings_of(site: Site, *parts: str) -> list[tuple[str, bool | None, str]]:
    """The doctor's findings about these parts."""
    found = await check_matching(site.settings)
    return [(finding.part, finding.ok, finding.detail) for finding in found if finding.part in parts]


AROUND = ("Changes", "Processes", "Previous index", "Shadow")


async def test_the_other_named_snapshots_are_mentioned_only_when_they_cannot_be_served(site: Site) -> None:
    await site.store(site.files())
    [active] = await site.database.snapshots.distinct("_id")
    await site.name(previous=active, shadow=active)
    assert [part for part, _ok, _detail in await findings_of(site, *AROUND)] == ["Changes"]
    await site.name(previous="gone", shadow="other")
    stored = await site.database.snapshots.find_one({"_id": active})
    assert stored
    other = {**stored["manifest"], "id": "other", "model_digest": "cd" * 32}
    await site.database.snapshots.insert_one({"_id": "other", "manifest": other})
    _changes, previous, shadow = await findings_of(site, *AROUND)
    assert previous == ("Previous index", None, "there is no snapshot 'gone'")
    assert shadow[:2] == ("Shadow", None)
    assert shadow[2].startswith("snapshot other needs the model colours (cdcdcdcdcdcd)")


async def test_processes_that_refuse_a_snapshot_are_counted_with_their_reason(site: Site) -> None:
    await site.store(site.files())
    [active] = await site.database.snapshots.distinct("_id")
    status = ServingStatus("one", "host-1", 7, "consumer", active, 0, None, 1)
    await write_status(site.database, status)
    assert await findings_of(site, "Processes") == [("Processes", True, f"1 of 1 serve {active}")]
    await write_status(site.database, replace(status, instance="two", snapshot="old"))
    assert await findings_of(site, "Processes") == [("Processes", None, f"1 of 2 serve {active}")]
    refused = RefusedSnapshot(active, "the disk is full")
    await write_status(site.database, replace(status, instance="two", snapshot="old", refused=refused))
    assert await findings_of(site, "Processes") == [
        ("Processes", None, f"{active} is refused by 1 of 2 processes (host-1 7): the disk is full")
    ]


async def test_many_changes_since_the_build_are_a_reason_to_build_again(site: Site) -> None:
    await site.store(site.files())
    assert await findings_of(site, "Changes") == [
        ("Changes", True, "0 of at most 5000 pictures and removals since the index was built")
    ]
    changes = [{"_id": 1 + n, "product": f"p{n}", "removed": True, "views": []} for n in range(4_001)]
    await site.database.delta.insert_many(changes)
    [(_part, ok, detail)] = await findings_of(site, "Changes")
    assert (ok, detail[:4]) == (None, "4001")


async def test_an_index_is_older_than_the_catalogue_after_an_import_but_not_after_single_changes(site: Site) -> None:
    await site.store(site.files())
    store = ProductStore(site.database)
    await store.upsert_many([Product("e", "added by itself")])
    await site.database.meta.update_one({"_id": "catalog_version"}, {"$set": {"version": 2}})  # the index has version 1
    await site.database.delta.insert_one({"_id": 1, "product": "e", "removed": True, "views": []})
    [(_part, ok, _detail)] = await findings_of(site, "Index")
    assert ok is True
    await store.upsert_many([Product("f", "imported")])
    [(_part, ok, detail)] = await findings_of(site, "Index")
    assert (ok, detail.endswith("older than the catalogue")) == (None, True)
