"""Runs a build from its start to a stored and active snapshot, so that it may be killed at any moment."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from framematch.catalog.building.build import BuildOptions, BuildReport, build_snapshot, new_snapshot_id
from framematch.catalog.building.folder import build_folder
from framematch.catalog.embeddings.picture_embedder import Encoder
from framematch.catalog.mongo import Database, mongo_errors
from framematch.catalog.operations.activation import activate
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.build_lease import BuildLease, clean_up, lease_build
from framematch.catalog.snapshots.names import read_names, repair_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage import SnapshotStorage
from framematch.catalog.snapshots.store import load_manifest, load_snapshot, save_snapshot
from framematch.core.errors import CatalogError
from framematch.core.progress import OnProgress
from framematch.vision.preprocess import Preprocessor

log = structlog.get_logger()

Calibrate = Callable[[SnapshotManifest, Path, Encoder, Preprocessor], Awaitable[SnapshotManifest]]
"""Returns the manifest of the snapshot in a folder with a calibration, or as it is."""


@dataclass(frozen=True)
class Builder:
    """Where snapshots are built from, and where they go: `cache_dir` is the folder of fetched snapshots."""

    store: ProductStore
    storage: SnapshotStorage
    cache_dir: Path

    async def build(
        self,
        encoder: Encoder,
        preprocessor: Preprocessor,
        options: BuildOptions,
        on_progress: OnProgress = lambda _done, _total: None,
        report: BuildReport | None = None,
        *,
        calibrate: Calibrate | None = None,
    ) -> SnapshotManifest:
        """Build and store a snapshot, and load it as a consumer does. What killed builds have left is deleted first.

        `calibrate` may add a calibration before it is stored. Until the manifest is written nobody can find the
        snapshot.

        Raises:
            CatalogError: see `build_snapshot`; or the storage refuses, or another build took this one for dead.
            ModelError: the model returned something that is no embedding.
            UnavailableError: MongoDB, Triton or the storage became unavailable.
        """
        database = self.store.database
        await clean_up(database, self.storage)
        snapshot_id = new_snapshot_id()
        async with lease_build(database, self.storage, snapshot_id) as lease:
            with build_folder(self.cache_dir) as folder:
                manifest = await build_snapshot(
                    self.store,
                    encoder,
                    preprocessor,
                    folder,
                    snapshot_id=snapshot_id,
                    options=options,
                    on_progress=on_progress,
                    report=report,
                )
                if calibrate is not None:
                    manifest = await calibrate(manifest, folder, encoder, preprocessor)
                await self._store(lease, manifest, folder)
            await self._try_to_load(snapshot_id)
        return manifest

    async def store_again(self, source: str, manifest: SnapshotManifest) -> None:
        """Store a snapshot of its own with this manifest and the files of the snapshot `source`, which is in the cache.

        Raises:
            CatalogError: the files are gone, or the storage refuses, or another build took this one for dead.
            UnavailableError: MongoDB or the storage became unavailable.
        """
        database = self.store.database
        await clean_up(database, self.storage)
        async with lease_build(database, self.storage, manifest.id) as lease:
            with build_folder(self.cache_dir) as folder:
                try:
                    for name in manifest.files:
                        await asyncio.to_thread(_link, self.cache_dir / source / name, folder / name)
                except OSError as error:
                    raise CatalogError(
                        f"cannot copy {error.filename}: {error.strerror}", hint="Check space and rights, and try again"
                    ) from error
                await self._store(lease, manifest, folder)
            await self._try_to_load(manifest.id)

    async def _store(self, lease: BuildLease, manifest: SnapshotManifest, folder: Path) -> None:
        await save_snapshot(self.store.database, self.storage, manifest, folder)
        await self._confirm(lease)
        self._keep_in_cache(manifest, folder)

    async def _try_to_load(self, snapshot_id: str) -> None:
        snapshot = await load_snapshot(self.store.database, self.storage, self.cache_dir, snapshot_id)
        snapshot.index.close()

    async def _confirm(self, lease: BuildLease) -> None:
        """Withdraw the manifest if the snapshot's files may have been deleted."""
        try:
            await lease.check()
        except CatalogError:
            with mongo_errors("storing a snapshot"):
                await lease.database.snapshots.delete_one({"_id": lease.snapshot_id})
            raise

    def _keep_in_cache(self, manifest: SnapshotManifest, folder: Path) -> None:
        """Move the files to where they are looked for, so that this host does not fetch them."""
        target = self.cache_dir / manifest.id
        with suppress(OSError):  # whatever is missing there is fetched
            target.mkdir()
            for name in manifest.files:
                (folder / name).replace(target / name)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system has no links. Nobody changes a file."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


async def active_snapshot(database: Database) -> str | None:
    """The active snapshot, before a build; damaged names are repaired.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    await repair_names(database)
    return (await read_names(database)).active


async def activate_built(database: Database, manifest: SnapshotManifest, active_before: str | None) -> str:
    """Make a new snapshot the active one, unless a build that was faster has activated newer data meanwhile.

    `active_before` was active when the build started. Returns the id of the active snapshot.

    Raises:
        CatalogError: the index of the snapshot finds too little to be served.
        StaleNamesError: somebody changed the names at the same time.
        MongoUnavailableError: MongoDB became unavailable; the names may have been changed.
    """
    active = await active_snapshot(database)
    if active is not None and active != active_before and await _is_newer(database, active, manifest):
        log.info("snapshot_not_activated", snapshot=manifest.id, active=active)
        return active
    await activate(database, manifest.id, expect=active)
    return manifest.id


async def _is_newer(database: Database, snapshot_id: str, manifest: SnapshotManifest) -> bool:
    """Whether the data of another snapshot are newer than those of `manifest`."""
    try:
        other = await load_manifest(database, snapshot_id)
    except CatalogError:  # it cannot be served
        return False
    return (other.catalog_version, other.delta) > (manifest.catalog_version, manifest.delta)
