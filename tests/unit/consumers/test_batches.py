"""Batches close when full or when their oldest record has waited long enough."""

import asyncio
from types import SimpleNamespace
from typing import Any

from consumers.batches import BatchFetcher


class Topic:
    """Stands in for aiokafka's consumer: `getmany` gives what was `put`, or nothing after its timeout."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.fetches = 0

    def put(self, *offsets: int) -> None:
        self.records += [SimpleNamespace(offset=offset) for offset in offsets]

    async def getmany(self, *, timeout_ms: float, max_records: int) -> dict[str, list[Any]]:
        self.fetches += 1
        if not self.records:
            await asyncio.sleep(timeout_ms / 1_000)
        found, self.records = self.records[:max_records], self.records[max_records:]
        return {"p": found} if found else {}


async def collect(topic: Topic, count: int, *, batch_size: int = 4, window_ms: float = 5) -> list[list[int]]:
    stop = asyncio.Event()
    found: list[list[int]] = []
    fetcher = BatchFetcher(topic, batch_size=batch_size, window_ms=window_ms)
    async for batch in fetcher.batches(stop):
        found.append([record.offset for record in batch])
        if len(found) == count:
            stop.set()
    return found


async def test_a_backlog_gives_full_batches() -> None:
    topic = Topic()
    topic.put(*range(10))
    assert await collect(topic, 3) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_a_lone_record_leaves_after_its_window() -> None:
    topic = Topic()
    topic.put(7)
    assert await collect(topic, 1) == [[7]]


async def test_records_that_come_within_the_window_join_the_batch() -> None:
    topic = Topic()
    topic.put(1)
    asyncio.get_running_loop().call_later(0.01, topic.put, 2, 3, 4)
    assert await collect(topic, 1, window_ms=100) == [[1, 2, 3, 4]]


async def test_what_is_held_when_partitions_change_owner_is_dropped() -> None:
    topic = Topic()
    topic.put(1)
    stop = asyncio.Event()
    fetcher = BatchFetcher(topic, batch_size=4, window_ms=50)
    asyncio.get_running_loop().call_later(0.01, fetcher.discard)
    asyncio.get_running_loop().call_later(0.15, topic.put, 9)
    async for batch in fetcher.batches(stop):
        assert [record.offset for record in batch] == [9]
        stop.set()


async def test_an_idle_fetcher_sees_that_it_should_stop() -> None:
    topic, stop = Topic(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    assert [batch async for batch in BatchFetcher(topic, batch_size=4, window_ms=5).batches(stop)] == []
    assert topic.fetches == 1
