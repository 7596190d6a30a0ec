"""The watchdog ends a consumer whose client has stopped fetching, but not one that waits for frames or a server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from aiokafka import AIOKafkaConsumer
from structlog.testing import capture_logs

from consumers.service import run_consumer
from framematch.core.errors import StalledError
from framematch.core.settings_sources import load_settings
from tests.e2e.fault_run import BreakableServers
from tests.e2e.site import Site, unique_prefix
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("untraced_processes")

STALL_TIMEOUT_S = 3.0
SETTINGS = {"FRAMEMATCH_CONSUMER__STALL_TIMEOUT_S": str(STALL_TIMEOUT_S)}


@dataclass(frozen=True)
class Member:
    """A consumer that runs in this process, and its Kafka client."""

    consuming: asyncio.Task[None]
    client: AIOKafkaConsumer

    async def stop_fetching(self) -> None:
        """End the client's fetching task without an error, as it happened with real clients."""
        fetcher = self.client._fetcher  # noqa: SLF001  # its public methods do not fail like that
        fetcher._fetch_task.cancel()  # noqa: SLF001  # as above
        await asyncio.wait({fetcher._fetch_task, *fetcher._pending_tasks})  # noqa: SLF001  # as above


@asynccontextmanager
async def running_consumer(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Member]:
    """A consumer that has processed some frames; it is cancelled at the end of the context."""
    clients = []
    subscribe = AIOKafkaConsumer.subscribe

    def subscribe_and_keep(client: AIOKafkaConsumer, *arguments: object, **options: object) -> None:
        clients.append(client)
        subscribe(client, *arguments, **options)

    monkeypatch.setattr(AIOKafkaConsumer, "subscribe", subscribe_and_keep)
    for name, value in {**site.environment, **SETTINGS}.items():
        monkeypatch.setenv(name, value)
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(run_consumer(load_settings(), asyncio.Event()))
        await eventually(lambda: clients and clients[0].assignment(), message="the consumer has its partitions")
        await site.events(await site.publish(4))
        [client] = clients
        yield Member(consuming, client)
        consuming.cancel()


async def test_a_consumer_whose_client_has_stopped_fetching_ends_and_reports_the_waiting_frames(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = pytest.RaisesExc(StalledError, match="7 frames to be fetched, 0 in flight")
    with pytest.RaisesGroup(stalled, flatten_subgroups=True):
        async with running_consumer(site, monkeypatch) as member:
            await member.stop_fetching()
            await site.publish(7)
            await asyncio.wait({member.consuming}, timeout=60)


@pytest.mark.parametrize("waits_for", ["frames", "triton", "kafka"])
async def test_a_consumer_that_waits_is_not_stalled(
    waits_for: Literal["frames", "triton", "kafka"],
    breakable: BreakableServers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breakable.recover()
    with Site(breakable.stack, tmp_path, prefix=unique_prefix()) as site, capture_logs() as logs:
        async with running_consumer(site, monkeypatch) as member:
            if waits_for == "triton":
                breakable.triton.kill()
                await site.publish(4)
            elif waits_for == "kafka":
                breakable.kafka.kill()
            done, _ = await asyncio.wait({member.consuming}, timeout=1.5 * STALL_TIMEOUT_S)
            assert not done
            if waits_for == "kafka":
                await eventually(lambda: any(line["event"] == "stall_not_judged" for line in logs))
            await asyncio.to_thread(breakable.recover)
