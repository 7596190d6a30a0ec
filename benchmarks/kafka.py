"""A Kafka broker that deletes old data soon, and a reader of the records that arrive in a topic."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from framematch.core.errors import FramematchError
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us
from framematch.core.units import MS_PER_S
from framematch.stack.kafka import KafkaServer

_PROPERTIES = """\
log.segment.delete.delay.ms=100
# Whole segments expire; they have 1 GiB by default.
log.segment.bytes=33554432
log.retention.check.interval.ms=5000
"""
_POLL_S = 0.2
_BACKLOG_POLL_S = 0.25  # rare enough to take no CPU from the consumer
_TIMEOUT_S = 180.0


class BenchmarkKafka(KafkaServer):
    """Deletes the files of deleted topics at once, and expired records within seconds."""

    def configure(self) -> None:
        """Add the settings to those of the stack."""
        super().configure()
        with self._properties.open("a", encoding="utf-8") as properties:
            properties.write(_PROPERTIES)

    def new_topics(self) -> KafkaSettings:
        """Settings with a new topic prefix; no topic is created."""
        return KafkaSettings(bootstrap_servers=self.bootstrap_servers, topic_prefix=f"benchmark-{uuid.uuid4().hex[:8]}")


@dataclass(frozen=True)
class Arrival:
    """A record, and when it was read, in microseconds of the wall clock."""

    record: Any  # aiokafka's ConsumerRecord, of bytes
    arrived_at_us: int


@dataclass(frozen=True)
class TopicReader:
    """Reads the records that come after `skip_to_end`; only committed ones of transactions."""

    consumer: AIOKafkaConsumer
    partitions: list[TopicPartition]

    async def skip_to_end(self) -> None:
        """Skip what is in the topic now."""
        for partition, offset in (await self.consumer.end_offsets(self.partitions)).items():
            self.consumer.seek(partition, offset)

    async def read(self) -> list[Arrival]:
        """Records that have arrived; empty when there is none within 0.2 s."""
        fetched = await self.consumer.getmany(timeout_ms=round(_POLL_S * MS_PER_S))
        arrived_at_us = now_us()
        return [Arrival(record, arrived_at_us) for records in fetched.values() for record in records]

    async def read_all(self, count: int, check: Callable[[], None]) -> list[Arrival]:
        """The next `count` records, read only when all have arrived: reading earlier takes CPU from their producer.

        `check` is called meanwhile, and raises when no more will arrive.
        """
        found: list[Arrival] = []
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                while await self._waiting() < count:
                    await asyncio.to_thread(check)
                    await asyncio.sleep(_BACKLOG_POLL_S)
                while len(found) < count:  # transaction markers have offsets too
                    await asyncio.to_thread(check)
                    found += await self.read()
        except TimeoutError:
            raise FramematchError(f"not all of {count} records arrived within {_TIMEOUT_S:.0f} s") from None
        return found

    async def _waiting(self) -> int:
        """Offsets between the last record that was read and the end of the topic."""
        ends = await self.consumer.end_offsets(self.partitions)
        return sum([ends[partition] - await self.consumer.position(partition) for partition in self.partitions])


@asynccontextmanager
async def reading(
    kafka: KafkaSettings, name: str, *, only: Collection[int] | None = None
) -> AsyncIterator[TopicReader]:
    """A reader of the existing topic `frames` or `matches`, or of some partitions, that starts at its end."""
    numbers = range(kafka.partitions) if only is None else only
    partitions = [TopicPartition(f"{kafka.topic_prefix}.{name}", number) for number in numbers]
    async with started(new_consumer(kafka, isolation_level="read_committed"), kafka) as consumer:
        consumer.assign(partitions)
        reader = TopicReader(consumer, partitions)
        await reader.skip_to_end()
        yield reader
