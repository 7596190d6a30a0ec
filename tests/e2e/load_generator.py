"""Publishes frames at a steady rate while a fault is injected."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import RecordMetadata

from framematch.core.kafka.clients import new_producer, started
from tests.e2e.input_records import InputRecord
from tests.e2e.site import Site

_FRAMES_PER_S = 15.0  # the machine is shared, and frames are also sent while a consumer starts
_MAX_FRAMES = 1_500  # however long the fault lasts on a busy machine


@dataclass(frozen=True)
class SentRecord:
    """A record and its position in the frames topic."""

    partition: int
    offset: int
    record: InputRecord


class LoadGenerator:
    """Publishes records until `stop` is called, at most `_MAX_FRAMES`."""

    def __init__(self, site: Site, records: Iterator[InputRecord]) -> None:
        self._site = site
        self._records = records
        self._stopped = asyncio.Event()
        self.count = 0
        """Records given to the producer so far."""

    def stop(self) -> None:
        """Publish no more records."""
        self._stopped.set()

    @property
    def finished(self) -> bool:
        """Whether no more records will be published."""
        return self._stopped.is_set() or self.count >= _MAX_FRAMES

    async def run(self) -> list[SentRecord]:
        """Publish until finished; returns all records once Kafka has acknowledged them."""
        pending = []
        async with started(new_producer(self._site.kafka), self._site.kafka) as producer:
            while not self.finished:
                record = next(self._records)
                self.count += 1
                pending.append((record, await self._send(producer, record)))
                await asyncio.sleep(1 / _FRAMES_PER_S)
            acknowledged = await asyncio.gather(*(future for _, future in pending))
        return [
            SentRecord(metadata.partition, metadata.offset, record)
            for metadata, (record, _) in zip(acknowledged, pending, strict=True)
        ]

    async def _send(self, producer: AIOKafkaProducer, record: InputRecord) -> Awaitable[RecordMetadata]:
        topic, headers = self._site.topics.frames, list(record.headers)
        while True:
            with suppress(KafkaTimeoutError):  # its buffer is full while Kafka is unreachable
                acknowledgement: Awaitable[RecordMetadata] = await producer.send(
                    topic, record.value, key=record.key, headers=headers
                )
                return acknowledgement
