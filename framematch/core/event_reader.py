"""Reads the events of one topic as they are published, and commits the offsets of a group once they are handled."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Self

import msgspec
import structlog
from aiokafka import ConsumerRecord

from framematch.core.events import Message, decode
from framematch.core.kafka.clients import new_consumer
from framematch.core.kafka.offsets import StartAt
from framematch.core.kafka.protocols import EventConsumer
from framematch.core.kafka.topics import wait_for_topic
from framematch.core.record_reader import RecordReader, reading
from framematch.core.settings import KafkaSettings

log = structlog.get_logger()


@dataclass(frozen=True)
class Received(Generic[Message]):
    """An event, and its bytes in the topic."""

    event: Message
    value: bytes


@dataclass(frozen=True)
class Selection(Generic[Message]):
    """Selects the events of `cameras` (all when empty) for which `fits` is true."""

    kind: type[Message]
    cameras: Collection[str] = ()
    fits: Callable[[Message], bool] = lambda _event: True

    def read(self, record: ConsumerRecord) -> Received[Message] | None:
        """The event in `record`; None when it is not selected.

        Raises:
            msgspec.DecodeError: the record is no event of this kind.
        """
        value = record.value or b""
        if self.cameras and (record.key or b"").decode(errors="replace") not in self.cameras:
            return None
        event = decode(value, self.kind)
        return Received(event, value) if self.fits(event) else None


class EventReader(RecordReader, Generic[Message]):
    """Iterates over the events of `selection` without end; records that are no events are logged and skipped.

    With a group, an event counts as handled when the next one is requested.
    """

    def __init__(
        self,
        consumer: EventConsumer,
        kafka: KafkaSettings,
        topic: str,
        selection: Selection[Message],
        *,
        start: StartAt,
        commits: bool,
    ) -> None:
        """As `RecordReader`."""
        super().__init__(consumer, kafka, [topic], start=start, commits=commits)
        self._selection = selection

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received[Message]:
        """Wait for the next event, also while Kafka is unavailable.

        Raises:
            KafkaUnavailableError: Kafka does not let us read.
        """
        while True:
            self.mark_handled()
            # One at a time, so that aiokafka drops what it has prefetched when a partition is revoked.
            for record in await self.read(1):
                try:
                    received = self._selection.read(record)
                except msgspec.DecodeError as error:
                    log.warning(
                        "event_unreadable", topic=record.topic, partition=record.partition, offset=record.offset,
                        error=str(error),
                    )  # fmt: skip
                    continue
                if received is not None:
                    return received


@asynccontextmanager
async def open_events(
    kafka: KafkaSettings, topic: str, selection: Selection[Message], *, group_id: str | None, start: StartAt
) -> AsyncIterator[EventReader[Message]]:
    """A reader of `topic`. A topic that does not exist yet is waited for, and read from its first event.

    Without a group it reads all partitions, sees every event published from now on, and commits nothing. It never sees
    aborted or open transactions.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
    """
    waited = await wait_for_topic(kafka, topic)
    consumer = new_consumer(kafka, group_id=group_id, auto_offset_reset="none", isolation_level="read_committed")
    start = "earliest" if waited else start
    reader = EventReader(consumer, kafka, topic, selection, start=start, commits=group_id is not None)
    async with reading(reader, consumer, kafka):
        yield reader
