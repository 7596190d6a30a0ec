"""Reads the events of one topic as they are published, and commits the offsets of a group once they are handled."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Literal, Self

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from framematch.core.events import Message, decode
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.topics import wait_for_topic
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_COMMIT_INTERVAL_S = 1.0
_COMMIT_TIMEOUT_S = 5.0  # aiokafka would retry for as long as its broker is unavailable

Start = Literal["latest", "earliest"]


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


class EventReader(ConsumerRebalanceListener, Generic[Message]):  # type: ignore[misc]  # aiokafka publishes no types
    """Iterates over the events of `selection` without end; records that are no events are logged and skipped.

    With a group, an event counts as handled when the next one is requested. Handled events are committed within a
    second, before partitions are revoked, and at the end.
    """

    def __init__(
        self, consumer: AIOKafkaConsumer, kafka: KafkaSettings, selection: Selection[Message], *, commits: bool
    ) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._selection = selection
        self._commits = commits
        self._current: ConsumerRecord | None = None
        self._handled: dict[TopicPartition, int] = {}
        self._commit_at_s = time.monotonic() + _COMMIT_INTERVAL_S

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received[Message]:
        """Wait for the next event, also while Kafka is unavailable.

        Raises:
            KafkaUnavailableError: Kafka does not let us read.
        """
        while True:
            self._mark_handled()
            self._current = record = await self._next()
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

    async def _next(self) -> ConsumerRecord:
        # One at a time, so that aiokafka drops what it has prefetched when a partition is revoked.
        while True:
            if time.monotonic() >= self._commit_at_s:
                await self.commit()
            with kafka_errors(self._kafka):
                found = await self._consumer.getmany(timeout_ms=int(_COMMIT_INTERVAL_S * MS_PER_S), max_records=1)
            for [record] in found.values():
                return record

    def _mark_handled(self) -> None:
        if self._current is not None and self._commits:
            self._handled[TopicPartition(self._current.topic, self._current.partition)] = self._current.offset + 1
        self._current = None

    async def commit(self) -> None:
        """Commit the handled events; after a rebalance the broker may refuse, and the new owner gets them again."""
        self._commit_at_s = time.monotonic() + _COMMIT_INTERVAL_S
        ours = self._consumer.assignment()
        offsets = {partition: offset for partition, offset in self._handled.items() if partition in ours}
        self._handled = {}
        if not offsets:
            return
        try:
            async with asyncio.timeout(_COMMIT_TIMEOUT_S):
                await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("commit_refused", error=str(error))
        except (KafkaError, TimeoutError) as error:
            log.warning("commit_failed", error=str(error) or f"no answer within {_COMMIT_TIMEOUT_S:g} s")
            self._handled = offsets | self._handled

    async def on_partitions_revoked(self, _revoked: Iterable[TopicPartition]) -> None:
        """Commit the handled events, so that the next owner repeats as few as possible."""
        await self.commit()

    async def on_partitions_assigned(self, _assigned: Iterable[TopicPartition]) -> None:
        """Do nothing: aiokafka starts from the committed offsets."""


@asynccontextmanager
async def open_events(
    kafka: KafkaSettings, topic: str, selection: Selection[Message], *, group_id: str | None, start: Start
) -> AsyncIterator[EventReader[Message]]:
    """A reader of `topic`. A topic that does not exist yet is waited for, and read from its first event.

    Without a group it reads all partitions, sees every event published from now on, and commits nothing. It never sees
    aborted or open transactions.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
    """
    waited = await wait_for_topic(kafka, topic)
    consumer = new_consumer(
        kafka,
        group_id=group_id,
        auto_offset_reset="earliest" if waited else start,
        isolation_level="read_committed",
    )
    reader = EventReader(consumer, kafka, selection, commits=group_id is not None)
    consumer.subscribe([topic], listener=reader)
    async with started(consumer, kafka):
        if group_id is None:
            with kafka_errors(kafka):
                for partition in consumer.assignment():
                    await consumer.position(partition)
        try:
            yield reader
        finally:
            await reader.commit()
