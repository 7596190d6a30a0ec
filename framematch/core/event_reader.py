"""Reads the events of one topic as they are published, and commits the offsets of a group once they are handled."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, Self

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from framematch.core.events import Message, decode
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.offsets import StartAt, first_to_read, offset_ranges
from framematch.core.kafka.topics import wait_for_topic
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_COMMIT_INTERVAL_S = 1.0
_COMMIT_TIMEOUT_S = 5.0  # aiokafka would retry for as long as its broker is unavailable


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
        self,
        consumer: AIOKafkaConsumer,
        kafka: KafkaSettings,
        selection: Selection[Message],
        *,
        start: StartAt,
        commits: bool,
    ) -> None:
        """`consumer` has `auto_offset_reset="none"`: it must not skip events silently. `start` is without a commit."""
        self._consumer = consumer
        self._kafka = kafka
        self._selection = selection
        self._start = start
        self._commits = commits
        self._positions: dict[TopicPartition, int] = {}
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
                found = await self._poll()
            for partition, [record] in found.items():
                self._positions[partition] = record.offset + 1
                return record

    async def _poll(self) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        try:
            timeout_ms = int(_COMMIT_INTERVAL_S * MS_PER_S)
            return dict(await self._consumer.getmany(timeout_ms=timeout_ms, max_records=1))
        except NoOffsetForPartitionError as error:  # on_partitions_assigned has failed, or the topic has grown
            expected = {partition: self._positions.get(partition) for partition in error.args}
        except OffsetOutOfRangeError as error:
            expected = error.args[0]
            self._positions |= error.args[0]
        with suppress(KafkaTimeoutError):  # the next poll finds the same
            await self._seek(expected)
        return {}

    async def _seek(self, expected: Mapping[TopicPartition, int | None]) -> None:
        """Continue at the `expected` offsets; reports those that Kafka does not have any more."""
        ranges = await offset_ranges(self._consumer, expected.keys())
        for partition in self._consumer.assignment() & expected.keys():
            offset = expected[partition]
            if self._positions.get(partition, offset) != offset:
                continue  # read or sought meanwhile
            position = first_to_read(ranges[partition], offset, self._start)
            self._consumer.seek(partition, position)
            self._positions[partition] = position
            if offset is None and self._commits:  # else `start` would decide again at the next rebalance
                self._handled[partition] = position
            elif offset is not None and offset != position:
                lost = max(0, position - offset)
                log.warning(
                    "offsets_jumped", topic=partition.topic, partition=partition.partition, from_offset=offset,
                    to_offset=position, events_lost=lost, reason="retention" if lost else "partition_truncated",
                )  # fmt: skip

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

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Seek the committed offsets, or where there is none the start or the present end.

        An error in a rebalance is logged by aiokafka; the next poll then finds a partition without an offset.
        """
        self._positions.clear()
        await self._seek({one: await self._consumer.committed(one) if self._commits else None for one in assigned})


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
    reader = EventReader(consumer, kafka, selection, start=start, commits=group_id is not None)
    consumer.subscribe([topic], listener=reader)
    async with started(consumer, kafka):
        with kafka_errors(kafka):
            await reader.on_partitions_assigned(consumer.assignment())  # so that "latest" means now
        try:
            yield reader
        finally:
            await reader.commit()
