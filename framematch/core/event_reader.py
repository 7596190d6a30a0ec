"""Reads the events of one topic as they are published, and commits the offsets of a group once they are handled."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, Self

import msgspec
import structlog
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from framematch.core.events import Message, decode
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.offsets import OffsetJudge, StartAt
from framematch.core.kafka.protocols import EventConsumer
from framematch.core.kafka.topics import wait_for_topic
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_COMMIT_INTERVAL_S = 1.0
_CHECK_INTERVAL_S = 5.0  # whether the topic is still the same
_CHECK_TIMEOUT_S = 2.0
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
        consumer: EventConsumer,
        kafka: KafkaSettings,
        topic: str,
        selection: Selection[Message],
        *,
        start: StartAt,
        commits: bool,
    ) -> None:
        """`consumer` has `auto_offset_reset="none"`: it must not skip events silently. `start` is without a commit."""
        self._consumer = consumer
        self._kafka = kafka
        self._topic = topic
        self._selection = selection
        self._commits = commits
        self._offsets = OffsetJudge(consumer, topic, start, commits=commits, unit="events")
        self._positions: dict[TopicPartition, int] = {}
        self._current: ConsumerRecord | None = None
        self._handled: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._commit_at_s = time.monotonic() + _COMMIT_INTERVAL_S
        self._check_at_s = time.monotonic() + _CHECK_INTERVAL_S
        self._missing = False

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
            if time.monotonic() >= self._check_at_s:
                await self._check_topic()
            with kafka_errors(self._kafka):
                found = await self._poll()
            for partition, records in found.items():
                for record in records:
                    self._positions[partition] = record.offset + 1
                    return record

    async def _poll(self) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        try:
            timeout_ms = int(_COMMIT_INTERVAL_S * MS_PER_S)
            found = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=1)
        except NoOffsetForPartitionError as error:  # on_partitions_assigned has failed, or the topic has grown
            with suppress(KafkaTimeoutError, UnknownTopicOrPartitionError):  # the next poll finds the same
                await self._start(error.args)
            return {}
        except OffsetOutOfRangeError as error:
            with suppress(KafkaTimeoutError, UnknownTopicOrPartitionError):
                await self._move(error.args[0])
            return {}
        if not found and self._commits:  # all that was returned is handled, so what has no record is too
            self._handled |= self._consumer.next_offsets()
        return found

    async def _start(self, partitions: Iterable[TopicPartition]) -> None:
        """Read partitions that have no position."""
        wanted = frozenset(partitions)
        at = {one: offset for one, offset in self._positions.items() if one in wanted}
        starts = await self._offsets.start(wanted, at)
        for partition in starts.keys() & self._consumer.assignment():
            self._seek(partition, starts[partition].offset)

    async def _move(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on elsewhere where Kafka does not have the next offsets."""
        moved = await self._offsets.moved(positions)
        now = self._consumer.next_offsets()
        for partition, offset in moved.items():
            if now.get(partition) == positions[partition]:  # else it was read, sought or revoked meanwhile
                self._seek(partition, offset)

    def _seek(self, partition: TopicPartition, offset: int) -> None:
        self._consumer.seek(partition, offset)
        self._positions[partition] = offset
        if self._commits:  # else the next rebalance would decide again
            self._handled[partition] = offset

    async def _check_topic(self) -> None:
        """Notice that the topic was deleted, or recreated: then our offsets are not those of the new one."""
        self._check_at_s = time.monotonic() + _CHECK_INTERVAL_S
        with suppress(TimeoutError, KafkaError):  # while Kafka does not answer there is nothing to notice
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                topic = (await self._consumer.describe(self._topic)).get(self._topic)
                if topic is None and not self._missing:
                    log.warning("topic_awaited", topic=self._topic, hint="It was deleted, or we may not read it")
                self._missing = topic is None
                if topic and self._offsets.recreated(topic, self._consumer.assignment()):
                    self._consumer.refresh_metadata()
                    self._handled.clear()
                    self._committed.clear()
                    await self._move(self._consumer.next_offsets())

    def _mark_handled(self) -> None:
        if self._current is not None and self._commits:
            self._handled[TopicPartition(self._current.topic, self._current.partition)] = self._current.offset + 1
        self._current = None

    async def commit(self) -> None:
        """Commit the handled events; after a rebalance the broker may refuse, and the new owner gets them again."""
        self._commit_at_s = time.monotonic() + _COMMIT_INTERVAL_S
        ours = self._consumer.assignment()
        handled = {partition: offset for partition, offset in self._handled.items() if partition in ours}
        offsets = {one: offset for one, offset in handled.items() if self._committed.get(one) != offset}
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
        else:
            self._committed |= offsets

    async def on_partitions_revoked(self, _revoked: Iterable[TopicPartition]) -> None:
        """Commit the handled events, so that the next owner repeats as few as possible."""
        await self.commit()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Seek the committed offsets, or where there is none the start or the present end.

        An error in a rebalance is logged by aiokafka; the next poll then finds a partition without an offset.
        """
        self._positions.clear()
        self._committed.clear()
        await self._start(assigned)


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
    consumer.subscribe([topic], listener=reader)
    async with started(consumer, kafka):
        with kafka_errors(kafka):
            await reader.on_partitions_assigned(consumer.assignment())  # so that "latest" means now
        try:
            yield reader
        finally:
            await reader.commit()
