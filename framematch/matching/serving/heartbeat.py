"""Tells others, by a document in MongoDB, which snapshot this process serves."""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.serving_status import (
    CAMERAS_MAX,
    INTERVAL_S,
    RefusedSnapshot,
    ServingStatus,
    ensure_expiry,
    remove_status,
    write_status,
)
from framematch.core.errors import CatalogError, FramematchError, MongoUnavailableError
from framematch.core.lifecycle import raise_if_cancelled
from framematch.matching.serving.watcher import SnapshotWatcher

log = structlog.get_logger()

_REMOVAL_TIMEOUT_S = 1.0


@asynccontextmanager
async def heartbeat(
    database: Database,
    watcher: SnapshotWatcher,
    changed: asyncio.Event,
    *,
    service: str,
    stale_cameras: Callable[[], Sequence[str]] = tuple,
) -> AsyncIterator[None]:
    """While the block runs: write the document at an interval and when `changed` is set; remove it at the end.

    `service` is what operators see: `consumer` or `api`. `stale_cameras` are those for which the calibration does not
    hold. Nothing depends on the document: while MongoDB is unavailable,
    or refuses, it is not written.
    """
    instance = uuid.uuid4().hex
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(
            _write(database, partial(_status, instance, service, watcher, stale_cameras), changed)
        )
        try:
            yield
        finally:
            writing.cancel()
            with suppress(FramematchError, TimeoutError):
                async with asyncio.timeout(_REMOVAL_TIMEOUT_S):
                    await remove_status(database, instance)


async def _write(database: Database, status: Callable[[], ServingStatus | None], changed: asyncio.Event) -> None:
    refused_before, expires = False, False
    while True:
        changed.clear()
        try:
            if not expires:
                await ensure_expiry(database)
                expires = True
            if (found := status()) is not None:
                await write_status(database, found)
        except MongoUnavailableError:  # the watcher logs it
            pass
        except CatalogError as error:
            if not refused_before:
                log.warning("serving_status_refused", error=error.message, hint="Give it rights to write `serving`")
            refused_before = True
        raise_if_cancelled()
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL_S):
                await changed.wait()


def _status(
    instance: str, service: str, watcher: SnapshotWatcher, stale_cameras: Callable[[], Sequence[str]]
) -> ServingStatus | None:
    served, shadow, refusal = watcher.active, watcher.shadow, watcher.refusal
    if served is None:
        return None
    return ServingStatus(
        instance=instance,
        host=socket.gethostname(),
        pid=os.getpid(),
        service=service,
        snapshot=served.manifest.id,
        delta=served.delta,
        shadow=shadow.manifest.id if shadow else None,
        names_version=watcher.names.version,
        refused=RefusedSnapshot(refusal.snapshot, refusal.reason) if refusal else None,
        stale_cameras=tuple(stale_cameras()[:CAMERAS_MAX]),
    )
