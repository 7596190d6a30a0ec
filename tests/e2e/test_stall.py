"""The watchdog: a consumer that fetches no more, and does not know it, ends; one that waits for somebody does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
SETTINGS = {"FRAMEMATCH_CONSUMER__STALL_TIMEOUT_S": str(STALL_TIMEOUT_S), "FRAMEMATCH_TRITON__TIMEOUT_S": "1"}


class Member:
    """A consumer in this process, and what the client library does for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._client: AIOKafkaConsumer | None = None
        subscribe = AIOKafkaConsumer.subscribe

        def subscribe_and_keep(client: AIOKafkaConsumer, *arguments: object, **options: object) -> None:
            self._client = client
            subscribe(client, *arguments, **options)

        monkeypatch.setattr(AIOKafkaConsumer, "subscribe", subscribe_and_keep)

    def stop_fetching(self) -> None:
        """As the client library has been seen to do by itself: the task that fetches ends, and nobody is told."""
        assert self._client is not None
        self._client._fetcher._fetch_task.cancel()  # noqa: SLF001  # its public methods do not fail like that

    @asynccontextmanager
    async def at_work(self, site: Site) -> AsyncIterator[asyncio.Task[None]]:
        """The running consumer, once it has answered a few frames; it ends with the block."""
        for name, value in {**site.environment, **SETTINGS}.items():
            self._monkeypatch.setenv(name, value)
        consuming = asyncio.create_task(run_consumer(load_settings(), asyncio.Event()))
        try:
            await site.events(await site.publish(4))
            yield consuming
        finally:
            consuming.cancel()
            await asyncio.wait({consuming})


async def test_a_consumer_whose_client_fetches_no_more_ends_and_says_what_waits(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(monkeypatch)
    async with member.at_work(site) as consuming:
        member.stop_fetching()
        await site.publish(7)
        with pytest.RaisesGroup(
            pytest.RaisesGroup(pytest.RaisesExc(StalledError, match=r"7 frames to be fetched, 0 in flight"))
        ):
            async with asyncio.timeout(60):
                await consuming


@pytest.mark.parametrize("waits_for", ["frames", "triton", "kafka"])
async def test_a_consumer_that_waits_is_not_stalled(
    waits_for: Literal["frames", "triton", "kafka"],
    breakable: BreakableServers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breakable.mend()
    with Site(breakable.stack, tmp_path, prefix=unique_prefix()) as site, capture_logs() as logs:
        async with Member(monkeypatch).at_work(site) as consuming:
            if waits_for == "triton":
                breakable.triton.kill()
                await site.publish(4)
            elif waits_for == "kafka":
                breakable.kafka.kill()
            done, _ = await asyncio.wait({consuming}, timeout=2 * STALL_TIMEOUT_S)
            assert not done
            if waits_for == "kafka":
                await eventually(lambda: any(line["event"] == "stall_not_judged" for line in logs))
            breakable.mend()
