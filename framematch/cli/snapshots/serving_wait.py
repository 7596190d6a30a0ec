"""Waits until all running processes serve a snapshot, or a change of a product."""

import asyncio
import time
from typing import TYPE_CHECKING

from framematch.core.errors import CatalogError

if TYPE_CHECKING:
    from framematch.catalog.mongo import Database
    from framematch.catalog.snapshots.names import SnapshotNames

_POLL_S = 0.25
_LIST_HINT = "See 'framematch catalog snapshots'"


def served_by_all(processes: int) -> str:
    """What a command says after it has waited for so many processes."""
    return f"Served by all running processes: {processes}" if processes else "No process is running"


async def wait_until_served(database: "Database", names: "SnapshotNames", wait_s: float) -> int:
    """Wait until every running process serves the active snapshot of `names`; returns how many there are.

    Raises:
        CatalogError: a process refuses it, another one was activated meanwhile, or the time is over.
        MongoUnavailableError: MongoDB became unavailable.
    """
    from framematch.catalog.operations.overview import serving_of
    from framematch.catalog.snapshots.names import read_names
    from framematch.catalog.snapshots.serving_status import read_statuses
    from framematch.cli.snapshots.table import refusal_lines

    snapshot_id = str(names.active)
    serving = serving_of((), snapshot_id)
    try:
        async with asyncio.timeout(wait_s):
            while True:
                serving = serving_of(await read_statuses(database), snapshot_id, since_version=names.version)
                if serving.refusing:
                    raise CatalogError(next(refusal_lines(snapshot_id, serving)), hint="They serve the one before")
                if len(serving.serving) == serving.processes:
                    break
                if (now := await read_names(database)).active != snapshot_id:
                    raise CatalogError(f"snapshot {now.active} was activated meanwhile", hint=_LIST_HINT)
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise CatalogError(
            f"after {wait_s:g} s {len(serving.serving)} of {serving.processes} processes serve {snapshot_id}",
            hint=f"It stays active. {_LIST_HINT}",
        ) from None
    return serving.processes


async def wait_until_searched(database: "Database", delta: int, wait_s: float) -> int:
    """Wait until every running process serves the change `delta` of a product; returns how many there are.

    Raises:
        CatalogError: the time is over; the message says if a process refuses to serve it.
        MongoUnavailableError: MongoDB became unavailable.
    """
    from framematch.catalog.snapshots.serving_status import read_statuses

    deadline_s = time.monotonic() + wait_s
    while True:
        statuses = await read_statuses(database)
        behind = [status for status in statuses if status.delta < delta]
        if not behind:
            return len(statuses)
        if time.monotonic() >= deadline_s:
            break
        await asyncio.sleep(_POLL_S)
    reasons = {f"snapshot {status.refused.snapshot}: {status.refused.reason}" for status in behind if status.refused}
    refused = f"; refused is {min(reasons)}" if reasons else ""
    raise CatalogError(
        f"after {wait_s:g} s {len(statuses) - len(behind)} of {len(statuses)} processes serve delta {delta}{refused}",
        hint=_LIST_HINT,
    )
