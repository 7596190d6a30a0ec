"""Snapshots in a real MongoDB server, served one after the other: what cannot be served is refused."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from structlog.testing import capture_logs

from framematch.catalog.changes.delta_log import append
from framematch.catalog.mongo import Database
from framematch.catalog.products import View
from framematch.catalog.snapshots.names import SnapshotNames, read_names, write_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest, describe_files
from framematch.catalog.snapshots.storage_gridfs import GridFsStorage
from framematch.catalog.snapshots.store import save_snapshot
from framematch.core.errors import ModelError
from framematch.core.settings import Settings
from framematch.matching.serving import opener as snapshot_opener
from framematch.matching.serving import slot as snapshot_slot
from framematch.matching.serving.slot import Refusal, Served, SnapshotName
from framematch.matching.serving.watcher import SnapshotWatcher, watched_snapshots
from framematch.vector_index.files import VECTORS_FILE
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor
from tests.support import eventually, file_size_limit
from tests.unit.catalog.snapshots import MODEL, SPEC, ColourEncoder, unit_rows, write_snapshot

pytestmark = pytest.mark.integration

SETTINGS = Settings.model_validate({"snapshots": {"poll_s": 0.1}})
OTHER_MODEL = "cd" * 32
NO_VIEWS = np.empty((0, MODEL.dimension), np.float32)


class FakeEncoder(ColourEncoder):
    """An encoder that can be closed."""

    closed = False

    async def close(self) -> None:
        """Like `ImageEncoder.close`."""
        self.closed = True


@dataclass
class Site:
    """A database, the encoders of the models that are served, and the watcher's listener."""

    database: Database
    cache: Path
    folder: Path
    encoders: list[FakeEncoder] = field(default_factory=list)
    swaps: list[tuple[SnapshotName, str | None]] = field(default_factory=list)
    refusals: dict[SnapshotName, Refusal | None] = field(default_factory=dict)

    def swapped(self, name: SnapshotName, _old: Served, new: Served, _took_s: float) -> None:
        """Implements `SwapListener.swapped`."""
        self.swaps.append((name, None if new is None else new.manifest.id))

    def refused(self, name: SnapshotName, refusal: Refusal | None) -> None:
        """Implements `SwapListener.refused`."""
        self.refusals[name] = refusal

    async def connect(self, model_digest: str) -> ImageEncoder:
        """Two models are served."""
        if model_digest not in (MODEL.digest, OTHER_MODEL):
            raise ModelError(f"Triton has no model {model_digest[:12]}", hint="Build it")
        self.encoders.append(FakeEncoder(replace(MODEL, digest=model_digest)))
        return cast("ImageEncoder", self.encoders[-1])

    def write(self, snapshot_id: str, seed: int = 0) -> tuple[SnapshotManifest, Path]:
        """The files of a snapshot of four products."""
        folder = self.folder / snapshot_id
        folder.mkdir()
        ids = [f"{snapshot_id}-{number}" for number in range(4)]
        return replace(write_snapshot(folder, unit_rows(4, seed=seed), ids), id=snapshot_id), folder

    async def store(self, snapshot_id: str, **changes: Any) -> None:
        """Store a snapshot; its manifest has these changes."""
        manifest, folder = self.write(snapshot_id)
        await save_snapshot(self.database, GridFsStorage(self.database), replace(manifest, **changes), folder)

    async def name(self, **names: Any) -> None:
        """Change names, without the checks of a command."""
        before = await read_names(self.database)
        await write_names(self.database, before, replace(before, **names))

    async def change(self, product_id: str, vectors: np.ndarray = NO_VIEWS) -> None:
        """Append a change: the product has views with these vectors now, or is removed."""
        space = f"{MODEL.digest}/{Preprocessor(SPEC, 'fast').digest}"
        views = [View(hashlib.sha256(vector.tobytes()).hexdigest(), 4, 4) for vector in vectors]
        await append(self.database, product_id, views, {space: vectors}, base=0)

    def mapped(self, snapshot_id: str) -> bool:
        """Whether this process has a file of the snapshot in its memory."""
        return f"/{snapshot_id}/" in Path("/proc/self/maps").read_text()


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> Site:
    own = Site(database, tmp_path / "cache", tmp_path)
    await own.store("old")
    await own.name(active="old")
    return own


@pytest.fixture
async def watcher(site: Site) -> AsyncIterator[SnapshotWatcher]:
    """Serves `old`, and follows the names."""
    async with watched_snapshots(site.database, SETTINGS, site.cache, connect=site.connect, listener=site) as own:
        following = asyncio.create_task(own.run())
        yield own
        following.cancel()
        await asyncio.wait([following])
        assert following.cancelled(), following.exception()


def top_product(served: Served) -> str:
    assert served is not None
    [decision] = served.matcher.match(unit_rows(4)[:1])
    return decision.candidates[0].product_id


async def test_another_snapshot_is_served_and_the_old_one_is_freed(site: Site, watcher: SnapshotWatcher) -> None:
    assert top_product(watcher.current) == "old-0"
    await site.store("new")
    await site.name(active="new", previous="old")
    await eventually(lambda: watcher.current.manifest.id == "new")
    assert (top_product(watcher.current), watcher.names.previous) == ("new-0", "old")
    assert (site.mapped("new"), site.swaps) == (True, [("active", "old"), ("active", "new")])
    await eventually(lambda: not site.mapped("old"), message="its files are unmapped")
    assert [encoder.closed for encoder in site.encoders] == [False], "both have the same model"


async def test_a_snapshot_that_is_in_use_stays_open(site: Site, watcher: SnapshotWatcher) -> None:
    in_use: Served = watcher.current
    await site.store("new", model_digest=OTHER_MODEL)
    await site.name(active="new")
    await eventually(lambda: watcher.current.manifest.id == "new")
    assert (top_product(in_use), watcher.current.model.digest) == ("old-0", OTHER_MODEL)
    in_use = None
    await eventually(lambda: site.encoders[0].closed and not site.mapped("old"))
    assert not site.encoders[1].closed


async def test_the_shadow_is_served_beside_it_and_dropped(site: Site, watcher: SnapshotWatcher) -> None:
    await site.store("beside")
    await site.name(shadow="beside", shadow_sample=0.5)
    await eventually(lambda: watcher.shadow)
    assert (top_product(watcher.shadow), top_product(watcher.current)) == ("beside-0", "old-0")
    assert watcher.names.shadow_sample == 0.5
    await site.name(shadow=None)
    await eventually(lambda: watcher.shadow is None and not site.mapped("beside"))


async def test_a_shadow_that_cannot_be_served_changes_nothing_else(site: Site, watcher: SnapshotWatcher) -> None:
    await site.store("new")
    await site.name(shadow="unknown")
    await eventually(lambda: site.refusals.get("shadow"))
    await site.name(active="new")
    await eventually(lambda: watcher.current.manifest.id == "new")
    assert site.refusals.get("active") is None
    assert watcher.refusal == site.refusals["shadow"]


async def test_a_snapshot_that_was_active_for_a_moment_only_is_skipped(site: Site, watcher: SnapshotWatcher) -> None:
    for snapshot_id in ("first", "second", "third"):
        await site.store(snapshot_id)
    before = SnapshotNames()
    await site.database.meta.delete_many({})
    await write_names(site.database, before, replace(before, active="third"))
    await eventually(lambda: watcher.current.manifest.id == "third")
    assert site.swaps[1:] == [("active", "third")]


async def test_a_change_of_a_product_is_served_with_the_same_index_and_model(
    site: Site, watcher: SnapshotWatcher
) -> None:
    before = watcher.current
    await site.change("other", unit_rows(4)[:1])
    await eventually(lambda: watcher.current.delta == 1)
    assert watcher.current.encoder is before.encoder
    [decision] = watcher.current.matcher.match(unit_rows(4)[:1])
    assert {candidate.product_id for candidate in decision.candidates[:2]} == {"old-0", "other"}
    await site.change("old-0")
    await eventually(lambda: top_product(watcher.current) == "other")
    assert (top_product(before), len(site.encoders)) == ("old-0", 1), "a frame in flight is decided as it was"


async def test_a_snapshot_is_opened_with_the_changes_since_it_was_built(site: Site, watcher: SnapshotWatcher) -> None:
    for number in range(3):
        await site.change(f"other-{number}", unit_rows(4, seed=7 + number)[:1])
    await site.store("new", delta=2)
    await site.name(active="new")
    await eventually(lambda: watcher.current.manifest.id == "new")
    assert (watcher.current.delta, list(watcher.current.changes.changes)) == (3, ["other-2"])


async def test_more_changes_than_can_be_searched_are_refused(
    site: Site, watcher: SnapshotWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.change("first", unit_rows(4)[:1])
    await eventually(lambda: watcher.current.delta == 1)
    monkeypatch.setattr(snapshot_opener, "DELTA_ROWS_MAX", 3)
    await site.change("second", unit_rows(4)[1:])
    await eventually(lambda: site.refusals.get("active"))
    assert watcher.refusal is not None
    assert "4 pictures were changed or removed, of at most 3" in watcher.refusal.reason
    assert watcher.current.delta == 1


Break = Callable[[Site], Awaitable[None]]


async def unknown(_: Site) -> None:
    """Nothing is stored."""


def with_manifest(**changes: Any) -> Break:
    async def store(site: Site) -> None:
        await site.store("new", **changes)

    return store


async def with_a_flipped_bit(site: Site) -> None:
    await site.store("new")
    chunk = await site.database["snapshots.chunks"].find_one({"files_id": {"$regex": f"new/{VECTORS_FILE}"}})
    assert chunk
    data = bytes(chunk["data"][:-1]) + bytes([chunk["data"][-1] ^ 1])
    await site.database["snapshots.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": data}})


def with_vectors(change: Callable[[np.ndarray], None]) -> Break:
    """A snapshot whose vectors are not what a build writes, with the right checksums."""

    async def store(site: Site) -> None:
        manifest, folder = site.write("new")
        vectors = np.load(folder / VECTORS_FILE)
        change(vectors)
        np.save(folder / VECTORS_FILE, vectors)
        changed = replace(manifest, files=describe_files(folder, manifest.index))
        await save_snapshot(site.database, GridFsStorage(site.database), changed, folder)

    return store


def not_a_number(vectors: np.ndarray) -> None:
    vectors[2, 5] = np.nan


def longer(vectors: np.ndarray) -> None:
    vectors[2] *= 1.5


def the_same_twice(vectors: np.ndarray) -> None:
    vectors[2] = vectors[1]


async def with_little_recall(site: Site) -> None:
    manifest, _ = site.write("other")
    await site.store("new", index=replace(manifest.index, recall_at_1=0.98))


BREAKS: dict[str, tuple[Break, str]] = {
    "unknown": (unknown, "there is no snapshot 'new'"),
    "a flipped bit": (with_a_flipped_bit, "is missing or damaged in MongoDB"),
    "another number of rows": (with_manifest(rows=7), "does not have 7 rows"),
    "another dimension": (with_manifest(dimension=7), "is no file of 4 x 7 values"),
    "a model that is not served": (with_manifest(model_digest="ef" * 32), "Triton has no model efef"),
    "another preprocessing": (with_manifest(preprocessing_digest="ef" * 32), "was built with preprocessing"),
    "little recall": (with_little_recall, "finds 98.0% of what an exact search finds"),
    "a row that is no number": (with_vectors(not_a_number), "row 2"),
    "a row that is longer": (with_vectors(longer), "row 2"),
    "a row that is there twice": (with_vectors(the_same_twice), "row"),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_what_does_not_verify_is_refused_and_the_old_one_goes_on(
    site: Site, watcher: SnapshotWatcher, name: str
) -> None:
    break_it, reason = BREAKS[name]
    await break_it(site)
    await site.name(active="new")
    await eventually(lambda: site.refusals.get("active"))
    refusal = site.refusals["active"]
    assert refusal is not None
    assert (refusal.snapshot, reason in refusal.reason) == ("new", True), refusal
    assert refusal.hint
    assert top_product(watcher.current) == "old-0"
    await site.name(active="old")
    await eventually(lambda: site.refusals["active"] is None)


async def test_a_full_disk_is_refused_until_there_is_space(
    site: Site, watcher: SnapshotWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_slot, "_BACKOFF_S", (0.1, 0.1))
    await site.store("new")
    with capture_logs(), file_size_limit(100):  # the log may be a file too
        await site.name(active="new")
        await eventually(lambda: site.refusals.get("active"))
        assert watcher.current.manifest.id == "old"
    await eventually(lambda: watcher.current.manifest.id == "new", message="it is tried again")
    assert site.refusals["active"] is None


async def test_a_cache_that_cannot_be_written_is_refused(site: Site, watcher: SnapshotWatcher) -> None:
    await site.store("new")
    (site.cache / "new").write_text("a file, no folder")
    await site.name(active="new")
    await eventually(lambda: site.refusals.get("active"))
    assert watcher.refusal is not None
    assert watcher.refusal.reason.startswith("cannot write")
    assert watcher.current.manifest.id == "old"


async def test_damaged_names_change_nothing(site: Site, watcher: SnapshotWatcher) -> None:
    await site.store("new")
    with capture_logs() as logs:
        await site.database.meta.update_many({}, {"$set": {"active": 7}})
        await eventually(lambda: "snapshot_names_unavailable" in {line["event"] for line in logs})
        assert (watcher.current.manifest.id, watcher.refusal) == ("old", None)
        await site.database.meta.update_many({}, {"$set": {"active": "new"}})
        await eventually(lambda: watcher.current.manifest.id == "new")
    assert [line["event"] for line in logs if "names" in line["event"]] == [
        "snapshot_names_unavailable",
        "snapshot_names_available",
    ]
