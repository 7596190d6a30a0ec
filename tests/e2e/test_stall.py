"""The watchdog: a consumer that fetches no more, and does not know it, ends; one that waits for somebody does not."""

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
from tests.e2e.scene import BreakableServers
from tests.e2e.site import Site, unique_prefix
from tests.support import eventually

STALL_TIMEOUT_S = 3.0
SETTINGS = {"FRAMEMATCH_CONSUMER__STALL_TIMEOUT_S": str(STALL_TIMEOUT_S)}


@dataclass(frozen=True)
class Member:
    """A consumer in this process, and the client library's part of it."""

    consuming: asyncio.Task[None]
    client: AIOKafkaConsumer

    async def stop_fetching(self) -> None:
        """As the client library has been seen to do by itself: the task that fetches ends, and nobody is told."""
        fetcher = self.client._fetcher  # noqa: SLF001  # its public methods do not fail like that
        fetcher._fetch_task.cancel()  # noqa: SLF001  # as above
        await asyncio.wait({fetcher._fetch_task, *fetcher._pending_tasks})  # noqa: SLF001  # as above


@asynccontextmanager
async def at_work(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Member]:
    """A consumer that has answered a few frames; it ends with the block."""
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
        await eventually(lambda: clients and clients[0].assignment(), message="it has its partitions")
        await site.events(await site.publish(4))
        [client] = clients
        yield Member(consuming, client)
        consuming.cancel()


async def test_a_consumer_whose_client_fetches_no_more_ends_and_says_what_waits(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = pytest.RaisesExc(StalledError, match="7 frames to be fetched, 0 in flight")
    with pytest.RaisesGroup(stalled, flatten_subgroups=True):
        async with at_work(site, monkeypatch) as member:
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
    breakable.mend()
    with Site(breakable.stack, tmp_path, prefix=unique_prefix()) as site, capture_logs() as logs:
        async with at_work(site, monkeypatch) as member:
            if waits_for == "triton":
                breakable.triton.kill()
                await site.publish(4)
            elif waits_for == "kafka":
                breakable.kafka.kill()
            done, _ = await asyncio.wait({member.consuming}, timeout=1.5 * STALL_TIMEOUT_S)
            assert not done
            if waits_for == "kafka":
                await eventually(lambda: any(line["event"] == "stall_not_judged" for line in logs))
            await asyncio.to_thread(breakable.mend)
