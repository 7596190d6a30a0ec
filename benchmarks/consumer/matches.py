"""Watches match events: how many are there, when the consumer made each, and its time in every stage."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from framematch.core.errors import FramematchError
from framematch.core.events import MatchEvent, MetadataState, decode
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings

_POLL_S = 0.25  # often enough to end in time, too seldom to take CPU from the consumer
_DEADLINE_S = 180.0
_MS_PER_S = 1_000


@dataclass(frozen=True)
class PublishedEvent:
    """When an event was given to the producer, and what its frame spent in each stage.

    `metadata_state` is that of the matched product, None where there is none.
    """

    at_s: float
    timings_ms: Mapping[str, float]
    metadata_state: MetadataState | None = None


class Matches:
    """The match events that come after `begin`; of transactions, those that were committed."""

    def __init__(self, reader: AIOKafkaConsumer, kafka: KafkaSettings) -> None:
        self._reader = reader
        topic = Topics(kafka.topic_prefix).matches
        self._partitions = [TopicPartition(topic, number) for number in range(kafka.partitions)]

    async def begin(self) -> None:
        """Leave out what is there by now."""
        self._reader.assign(self._partitions)
        for partition, offset in (await self._reader.end_offsets(self._partitions)).items():
            self._reader.seek(partition, offset)

    async def collect(self, events: int, check: Callable[[], None]) -> list[PublishedEvent]:
        """The next `events` events, once all are there: reading them earlier would take CPU from who makes them.

        `check` is called meanwhile, and raises when these events will never come.

        Raises:
            FramematchError: they did not come in time.
        """
        found: list[PublishedEvent] = []
        try:
            async with asyncio.timeout(_DEADLINE_S):
                while await self._offset() < events:
                    await asyncio.to_thread(check)
                    await asyncio.sleep(_POLL_S)
                while len(found) < events:  # the ends of transactions count as offsets too
                    await asyncio.to_thread(check)
                    found += await self._read()
        except TimeoutError:
            raise FramematchError(f"not all of {events} match events came in {_DEADLINE_S:.0f} s") from None
        return found

    async def _offset(self) -> int:
        """How far the topic has grown since what was read last."""
        ends = await self._reader.end_offsets(self._partitions)
        return sum([ends[partition] - await self._reader.position(partition) for partition in self._partitions])

    async def _read(self) -> list[PublishedEvent]:
        fetched = await self._reader.getmany(timeout_ms=round(_POLL_S * _MS_PER_S))
        return [_event(record) for records in fetched.values() for record in records]


@asynccontextmanager
async def watching_matches(kafka: KafkaSettings) -> AsyncIterator[Matches]:
    """The matches topic of these settings, which exists, from its end on.

    Raises:
        KafkaUnavailableError: no broker answers.
    """
    async with started(new_consumer(kafka, isolation_level="read_committed"), kafka) as reader:
        matches = Matches(reader, kafka)
        await matches.begin()
        yield matches


def _event(record: ConsumerRecord) -> PublishedEvent:
    event = decode(record.value, MatchEvent)
    state = event.metadata_state if event.product else None
    return PublishedEvent(record.timestamp / _MS_PER_S, event.timings_ms, state)
