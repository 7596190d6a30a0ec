"""A subscriber that notes when each match event arrived, beside the publisher of the frames."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from framematch.core.errors import FramematchError
from framematch.core.events import MatchEvent, decode
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import from_rfc3339, now_us

_DEADLINE_S = 60.0
_POLL_MS = 200
_US_PER_MS = 1_000

T = TypeVar("T")


@dataclass(frozen=True)
class Arrival:
    """From the publishing of a frame to the arrival of its event, and what the event says of the time between."""

    latency_ms: float
    timings_ms: Mapping[str, float]


class Subscriber:
    """Reads the matches topic from its end on; of transactions, those that were committed."""

    def __init__(self, reader: AIOKafkaConsumer) -> None:
        self._reader = reader

    async def skip(self) -> None:
        """Leave out what is there by now."""
        await self._reader.seek_to_end()

    async def during(
        self, publishing: Coroutine[Any, Any, T], frames: int, check: Callable[[], None]
    ) -> tuple[list[Arrival], T]:
        """The arrivals of `frames` frames that `publishing` publishes meanwhile, and what that returns.

        Raises:
            FramematchError: they did not arrive within a minute after the last was published.
        """
        found: list[Arrival] = []
        published = asyncio.create_task(publishing)
        try:
            while not published.done():
                found += await self._read()
            async with asyncio.timeout(_DEADLINE_S):
                while len(found) < frames and not published.exception():
                    await asyncio.to_thread(check)
                    found += await self._read()
        except TimeoutError:
            raise FramematchError(f"{len(found)} of {frames} match events arrived") from None
        finally:
            published.cancel()
        return found, published.result()

    async def _read(self) -> list[Arrival]:
        fetched = await self._reader.getmany(timeout_ms=_POLL_MS)
        arrived_at_us = now_us()
        events = [decode(record.value, MatchEvent) for records in fetched.values() for record in records]
        return [
            Arrival((arrived_at_us - from_rfc3339(event.frame.captured_at)) / _US_PER_MS, event.timings_ms)
            for event in events
        ]


@asynccontextmanager
async def subscribed(kafka: KafkaSettings) -> AsyncIterator[Subscriber]:
    """A subscriber of the matches topic of these settings, which exists.

    Raises:
        KafkaUnavailableError: no broker answers.
    """
    async with started(new_consumer(kafka, isolation_level="read_committed"), kafka) as reader:
        topic = Topics(kafka.topic_prefix).matches
        reader.assign([TopicPartition(topic, number) for number in range(kafka.partitions)])
        subscriber = Subscriber(reader)
        await subscriber.skip()
        yield subscriber
