"""A process's document in a real MongoDB server: what it serves, as long as it runs."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from framematch.catalog.mongo import Database
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.catalog.snapshots.serving_status import RefusedSnapshot, ServingStatus, read_statuses
from framematch.core.errors import CatalogError, MongoUnavailableError
from framematch.matching.serving import heartbeat as module
from framematch.matching.serving.heartbeat import heartbeat
from framematch.matching.serving.slot import Refusal
from tests.support import eventually
from tests.unit.consumers.sample_frames import make_served

pytestmark = pytest.mark.integration


@pytest.fixture
def watcher() -> Any:
    """Serves `old`."""
    return SimpleNamespace(
        active=make_served(snapshot="old"), shadow=None, refusal=None, names=SnapshotNames(3, active="old")
    )


async def test_the_document_follows_each_change_and_goes_at_the_end(database: Database, watcher: Any) -> None:
    changed = asyncio.Event()

    async def served(snapshot: str) -> bool:
        return [status.snapshot for status in await read_statuses(database)] == [snapshot]

    async with heartbeat(database, watcher, changed, service="api", stale_cameras=lambda: ["till-1"]):
        await eventually(lambda: served("old"))
        watcher.active, watcher.shadow = make_served(snapshot="new", delta=7), make_served(snapshot="beside")
        watcher.refusal, watcher.names = Refusal("next", "damaged", ""), SnapshotNames(4, active="next")
        changed.set()
        await eventually(lambda: served("new"))
        [status] = await read_statuses(database)
    expected = ServingStatus(
        status.instance,
        status.host,
        status.pid,
        "api",
        "new",
        7,
        "beside",
        4,
        RefusedSnapshot("next", "damaged"),
        ("till-1",),
    )
    assert (status, await read_statuses(database)) == (expected, [])


@pytest.mark.parametrize("error", [MongoUnavailableError("no answer"), CatalogError("no rights")])
async def test_a_document_that_cannot_be_written_ends_nothing_and_is_said_once(
    database: Database, watcher: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tries, changed = 0, asyncio.Event()

    async def refuse(_database: Database, _status: ServingStatus) -> None:
        nonlocal tries
        tries += 1
        asyncio.get_running_loop().call_soon(changed.set)  # so that it tries again at once
        raise error

    monkeypatch.setattr(module, "write_status", refuse)
    with capture_logs() as logs:
        async with heartbeat(database, watcher, changed, service="api"):
            await eventually(lambda: tries >= 3)
    expected = ["serving_status_refused"] if isinstance(error, CatalogError) else []
    assert [line["event"] for line in logs] == expected
