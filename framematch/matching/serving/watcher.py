"""Watches which snapshots are named, and serves them: another one for the next frame, without a pause between two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from framematch.catalog.changes.delta_log import newest_number
from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.names import SnapshotNames, read_names
from framematch.catalog.snapshots.snapshot import REBUILD_HINT
from framematch.core.errors import CatalogError, FramematchError
from framematch.core.lifecycle import raise_if_cancelled
from framematch.core.settings import Settings
from framematch.matching.serving.encoder_pool import EncoderPool
from framematch.matching.serving.held_snapshots import HeldSnapshots
from framematch.matching.serving.opener import Connect, open_served, warm_up, with_newest_changes
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.matching.serving.slot import Refusal, SnapshotSlot, SwapListener

log = structlog.get_logger()


@asynccontextmanager
async def watched_snapshots(
    database: Database,
    settings: Settings,
    cache_dir: Path,
    *,
    connect: Connect,
    listener: SwapListener,
    required: bool = True,
) -> AsyncIterator["SnapshotWatcher"]:
    """Open the active snapshot; inside the context `run` follows the names. Closes every model at the end.

    Without `required` it begins also without a snapshot, and `run` opens the first one when there is one.

    Raises:
        CatalogError: no snapshot is active, or it cannot be served.
        ModelError: Triton does not serve its model, or another one.
        UnavailableError: MongoDB or Triton does not answer.
    """
    opener = _Opener(database, settings, cache_dir, connect)
    try:
        watcher = SnapshotWatcher(opener, database, settings.snapshots.poll_s, listener, required=required)
        if required:
            await watcher.open_first()
        yield watcher
    finally:
        await opener.encoders.close()


class SnapshotWatcher:
    """The snapshots that this process serves; see `watched_snapshots`.

    Names and changes are polled: what they say when they are read is what counts, however often they have changed.
    While MongoDB is unavailable everything stays as it is.
    """

    def __init__(
        self, opener: "_Opener", database: Database, poll_s: float, listener: SwapListener, *, required: bool = True
    ) -> None:
        self.names = SnapshotNames()
        self._opener = opener
        self._database = database
        self._poll_s = poll_s
        self._required = required
        self._active = SnapshotSlot("active", opener, listener)
        self._shadow = SnapshotSlot("shadow", opener, listener)
        self._available = True
        self._newest_delta = 0

    @property
    def current(self) -> ServedSnapshot:
        """The snapshot that the next frame is decided with."""
        if self._active.served is None:
            raise ValueError("no snapshot is open yet")
        return self._active.served

    @property
    def active(self) -> ServedSnapshot | None:
        """The same; None while nothing is served, which only a service that does not require a snapshot sees."""
        return self._active.served

    @property
    def shadow(self) -> ServedSnapshot | None:
        """The snapshot that decides beside it, if there is one."""
        return self._shadow.served

    @property
    def refusal(self) -> Refusal | None:
        """The first snapshot that a name points to and that cannot be served."""
        return self._active.refusal or self._shadow.refusal

    async def open_first(self) -> None:
        """Open the active snapshot; errors as in `watched_snapshots`."""
        self.names = await read_names(self._database)
        await self._active.open_first(_active(self.names), self.names.version)

    async def run(self) -> None:
        """Follow the names until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in (self._active.run(), self._shadow.run(), self._free()):
                group.create_task(part)
            while True:
                await self._poll()
                raise_if_cancelled()
                await asyncio.sleep(self._poll_s)

    async def _poll(self) -> None:
        try:
            names = await read_names(self._database)
            active = _active(names) if self._required or self._active.served else names.active
            self._newest_delta = await newest_number(self._database, known=self._newest_delta)
        except FramematchError as error:
            if self._available:
                log.warning("snapshot_names_unavailable", error=error.message, hint=error.hint)
            self._available = False
            return
        if not self._available:
            log.info("snapshot_names_available")
            for slot in (self._active, self._shadow):
                slot.retry()
        self._available = True
        self.names = names
        self._active.follow(active, names.version, self._newest_delta)
        self._shadow.follow(names.shadow, names.version, self._newest_delta)

    async def _free(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await self._opener.free_unused()


class _Opener:
    """Opens snapshots for both names; the snapshots of one model share its connection."""

    def __init__(self, database: Database, settings: Settings, cache_dir: Path, connect: Connect) -> None:
        self._database = database
        self._settings = settings
        self._cache_dir = cache_dir
        self._held = HeldSnapshots()
        self.encoders = EncoderPool(connect)

    async def open(self, snapshot_id: str) -> ServedSnapshot:
        """The snapshot, warm: the first batch is as fast as the others."""
        with self.encoders.opening():
            served = await open_served(
                self._database,
                snapshot_id,
                settings=self._settings,
                cache_dir=self._cache_dir,
                connect=self.encoders.get,
            )
            await warm_up(served)
            self._held.add(served)
        return served

    async def update(self, served: ServedSnapshot) -> ServedSnapshot:
        """The same snapshot with the newest changes; it shares index and model."""
        with self.encoders.opening():
            updated = await with_newest_changes(self._database, served)
            if updated is not served:
                self._held.add(updated)
        return updated

    async def free_unused(self) -> None:
        """Free what no frame needs any more."""
        await self._held.free_unused()
        await self.encoders.close_unused(self._held.encoders)


def _active(names: SnapshotNames) -> str:
    if names.active is None:
        raise CatalogError("the catalogue has no index yet", hint=REBUILD_HINT)
    return names.active
