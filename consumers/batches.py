"""Fetching: records of all partitions in batches that close when full or when the oldest has waited long enough."""

import asyncio
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, ConsumerRecord

_IDLE_POLL_MS = 200  # how soon an idle consumer sees that it should stop


class BatchFetcher:
    """Yields batches of records, in offset order per partition."""

    def __init__(self, consumer: AIOKafkaConsumer, *, batch_size: int, window_ms: float) -> None:
        self._consumer = consumer
        self._batch_size = batch_size
        self._window_s = window_ms / 1_000
        self._held: list[ConsumerRecord] = []

    def discard(self) -> None:
        """Drop what is held for the next batch: its partitions change owner, and it was never committed."""
        self._held = []

    async def batches(self, stop: asyncio.Event) -> AsyncIterator[list[ConsumerRecord]]:
        """Batches of 1 to `batch_size` records, until `stop` is set."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            await self._fetch(_IDLE_POLL_MS)
            if not self._held:
                continue
            closes_at = loop.time() + self._window_s
            while len(self._held) < self._batch_size and (left_s := closes_at - loop.time()) > 0:
                await self._fetch(left_s * 1_000)
            batch, self._held = self._held, []
            if batch:
                yield batch

    async def _fetch(self, timeout_ms: float) -> None:
        room = self._batch_size - len(self._held)
        found = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=room)
        self._held += [record for records in found.values() for record in records]
