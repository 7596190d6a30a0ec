"""Watches frames arrive: a consumer of frames topics that notes when each record came.

A consumer gets a record as soon as all in-sync replicas have it, which is when its producer gets the acknowledgement.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from framematch.core.frames import Frame, parse_frame
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us

_US_PER_MS = 1_000


@dataclass(frozen=True)
class Arrival:
    """A frame, and when it came: by the monotonic clock in seconds, and the wall clock in microseconds."""

    prefix: str
    frame: Frame
    at_s: float
    at_us: int

    @property
    def grabbed_at_us(self) -> int:
        """When the edge got the frame from its source, by the wall clock."""
        return self.frame.captured_at_us if self.frame.grabbed_at_us is None else self.frame.grabbed_at_us

    @property
    def latency_ms(self) -> float:
        """From the source to the consumer."""
        return (self.at_us - self.grabbed_at_us) / _US_PER_MS


class Arrivals:
    """Reads what comes after `begin` was called."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def begin(self) -> None:
        """Leave out what is in the topics by now."""
        await self._consumer.seek_to_end()

    async def next(self, *, timeout_ms: int = 200) -> list[Arrival]:
        """What has come; empty when nothing did in time."""
        found = await self._consumer.getmany(timeout_ms=timeout_ms)
        at_s, at_us = time.monotonic(), now_us()
        return [
            Arrival(partition.topic.rpartition(".")[0], parse_frame(record.key, record.headers), at_s, at_us)
            for partition, records in found.items()
            for record in records
        ]


@asynccontextmanager
async def watching(topics: Sequence[KafkaSettings]) -> AsyncIterator[Arrivals]:
    """The frames topics of these settings, all of one broker, from their end on.

    Raises:
        KafkaUnavailableError: no broker answers.
    """
    async with started(new_consumer(topics[0]), topics[0]) as consumer:
        consumer.assign(
            [
                TopicPartition(Topics(kafka.topic_prefix).frames, number)
                for kafka in topics
                for number in range(kafka.partitions)
            ]
        )
        arrivals = Arrivals(consumer)
        await arrivals.begin()
        yield arrivals
