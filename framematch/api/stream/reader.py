"""Reads the streamed topics into the ring: one reader without a group, for as long as the service runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import get_args

import msgspec
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from framematch.api.stream.events import Gap, Reset, ResetReason, published
from framematch.api.stream.positions import NO_TAG, Positions, tag_of
from framematch.api.stream.ring import Ring
from framematch.core.backoff import Backoff
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import new_consumer, start_client, stop_client, unavailable
from framematch.core.kafka.consumer import Consumer, UnreadableRecords
from framematch.core.kafka.offsets import Jump, OffsetJudge, StartAt
from framematch.core.kafka.topic_descriptions import TopicDescription
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_POLL_S = 0.5
_MAX_RECORDS = 500  # before the event loop does something else
_PUBLISH_INTERVAL_S = 0.02  # each time wakes all clients, so their number of wake-ups must not follow that of events
_FETCH_BYTES = 4_194_304
_CHECK_INTERVAL_S = 5.0  # whether the topics are still the same, and Kafka answers
_CHECK_TIMEOUT_S = 2.0
_RETRY_S, _MAX_RETRY_S = 0.2, 5.0


Report = Callable[[str | None], None]


def streamed_topics(topics: Topics) -> tuple[str, ...]:
    """The topics in the order of `KINDS`."""
    return (topics.matches, topics.sightings, topics.status)


def unreadable(topics: Sequence[str], found: UnreadableRecords) -> Gap:
    """The gap that records leave which no client can decode."""
    partition = found.partition
    return Gap(topics.index(partition.topic), partition.partition, found.first, found.stop, "unreadable")


class StreamReader:
    """Fills the ring; reports to `report` why Kafka cannot be read, or None when it can.

    It starts at the present end. Afterwards no event is skipped silently, however long Kafka is away: what Kafka has
    deleted meanwhile is a gap, and a topic that was recreated a reset.
    """

    def __init__(self, kafka: KafkaSettings, ring: Ring, report: Report) -> None:
        self._kafka = kafka
        self._ring = ring
        self._report = report

    async def run(self) -> None:
        """Read without end."""
        async with self._consumer() as consumer:
            await _Reading(consumer, self._kafka, self._ring, self._report).run()

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Consumer]:
        """A consumer that is connected, however long that takes; it then outlives every outage of its brokers."""
        backoff = Backoff(_RETRY_S, _MAX_RETRY_S)
        topics = streamed_topics(Topics(self._kafka.topic_prefix))
        while True:
            consumer = new_consumer(
                self._kafka,
                auto_offset_reset="none",
                isolation_level="read_committed",
                fetch_max_bytes=_FETCH_BYTES,
                on_unreadable=lambda found: self._ring.append(unreadable(topics, found)),
            )
            try:
                await start_client(consumer, self._kafka, explain=False)
            except KafkaUnavailableError as error:
                self._report(str(error))
                await asyncio.sleep(backoff.next_delay_s())
                continue
            try:
                yield consumer
            finally:
                await stop_client(consumer)
            return


class _Reading:
    """Reads with one consumer."""

    def __init__(self, consumer: Consumer, kafka: KafkaSettings, ring: Ring, report: Report) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._ring = ring
        self._report = report
        self._backoff = Backoff(_RETRY_S, _MAX_RETRY_S)
        self._topics = streamed_topics(Topics(kafka.topic_prefix))
        self._judges: dict[str, OffsetJudge] = {}
        self._jumps: list[Jump] = []
        self._missing: set[str] = set()
        self._check_at_s = 0.0

    async def run(self) -> None:
        """Read without end; errors of Kafka are reported, and reading is tried again."""
        begun = False
        while True:
            try:
                if not begun:
                    await self._begin()
                    begun = True
                await self._step()
            except KafkaError as error:
                self._report(str(unavailable(self._kafka, error)))
                await asyncio.sleep(self._backoff.next_delay_s())

    async def _begin(self) -> None:
        """Decide where all partitions are read, before the first client gets a position, then subscribe."""
        found = await self._consumer.describe(*self._topics)
        positions = Positions()
        for name in self._topics:
            # What is published in a topic that does not exist yet is new, from its first event on.
            self._judges[name] = self._judge(name, is_new=name not in found)
        for name, description in found.items():
            topic = self._topics.index(name)
            starts = await self._judges[name].start(partitions_of(description))
            positions.tags[topic] = tag_of(description.id)
            for partition, start in starts.items():
                positions.move(topic, partition.partition, start.offset)
        self._consumer.subscribe(list(self._topics))
        self._ring.start(positions)

    def _judge(self, name: str, *, is_new: bool) -> OffsetJudge:
        start_at: StartAt = "earliest" if is_new else "latest"
        return OffsetJudge(self._consumer, name, start_at, commits=False, unit="events", on_jump=self._jumps.append)

    async def _step(self) -> None:
        started_s = time.monotonic()
        if started_s >= self._check_at_s:
            await self._check_topics()
        if not await self._poll():
            return
        self._ring.publish()
        self._backoff.reset()
        await asyncio.sleep(max(0.0, started_s + _PUBLISH_INTERVAL_S - time.monotonic()))

    async def _poll(self) -> bool:
        """Read some records into the ring; returns whether the position has changed."""
        before = self._ring.positions.encode()
        try:
            found = await self._consumer.getmany(timeout_ms=int(_POLL_S * MS_PER_S), max_records=_MAX_RECORDS)
        except NoOffsetForPartitionError:  # they were just assigned
            await _tried(self._start_assigned())
            found = {}
        except OffsetOutOfRangeError as error:
            await _tried(self._move(error.args[0]))
            found = {}
        self._append(found)
        return self._ring.positions.encode() != before

    def _append(self, found: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        for partition, records in found.items():
            topic = self._topics.index(partition.topic)
            for record in records:
                try:
                    self._ring.append(published(topic, record))
                except msgspec.DecodeError as error:
                    log.warning(
                        "event_unreadable", topic=record.topic, partition=record.partition, offset=record.offset,
                        error=str(error),
                    )  # fmt: skip
        for partition, offset in self._consumer.next_offsets().items():  # some offsets have no event
            topic, number, known = self._topics.index(partition.topic), partition.partition, self._ring.positions
            if number < known.partitions(topic) and offset > known.offset(topic, number):
                known.move(topic, number, offset)

    async def _start_assigned(self) -> None:
        """Read partitions that have no position in the consumer: all, after their number has changed."""
        waiting = self._consumer.assignment() - self._consumer.next_offsets().keys()
        for name in {partition.topic for partition in waiting}:
            topic, known = self._topics.index(name), self._ring.positions
            partitions = [partition for partition in waiting if partition.topic == name]
            at = {
                one: known.offset(topic, one.partition) for one in partitions if one.partition < known.partitions(topic)
            }
            starts = await self._judges[name].start(partitions, at)
            self._apply_jumps(topic)
            for partition, start in starts.items():
                known.move(topic, partition.partition, start.offset)
            self._seek({partition: start.offset for partition, start in starts.items()})

    async def _move(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on elsewhere where Kafka does not have the next offsets."""
        for name in {partition.topic for partition in positions}:
            asked = {partition: offset for partition, offset in positions.items() if partition.topic == name}
            moved = await self._judges[name].moved(asked)
            self._apply_jumps(self._topics.index(name))
            self._seek(moved)

    def _seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        for partition in offsets.keys() & self._consumer.assignment():
            self._consumer.seek(partition, offsets[partition])

    def _apply_jumps(self, topic: int) -> None:
        """Put what a judge has found into the ring, so that each client gets it in its place."""
        jumps, self._jumps[:] = self._jumps[:], []
        tag = tag_of(self._consumer.topic_ids.get(self._topics[topic]))
        positions = self._ring.positions
        if positions.tags[topic] == NO_TAG:
            positions.tags[topic] = tag
        for reason in get_args(ResetReason):
            offsets = {jump.partition.partition: jump.to_offset for jump in jumps if jump.reason == reason}
            if offsets and (reason == "partition_truncated" or positions.tags[topic] != tag):
                self._ring.append(Reset(topic, tag, offsets, reason))
        for jump in jumps:
            if jump.reason == "retention":
                first = jump.from_offset or 0
                self._ring.append(Gap(topic, jump.partition.partition, first, jump.to_offset, "retention"))

    async def _check_topics(self) -> None:
        """Notice topics that were created, deleted or recreated, and that Kafka does not answer."""
        self._check_at_s = time.monotonic() + _CHECK_INTERVAL_S
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                found = await self._consumer.describe(*self._topics)
                for name in self._topics:
                    await self._check_topic(name, found.get(name))
        except TimeoutError:
            self._report(f"Kafka does not answer at {self._kafka.bootstrap_servers}")
        else:
            self._report(None)

    async def _check_topic(self, name: str, topic: TopicDescription | None) -> None:
        if topic is None:
            if name not in self._missing:
                log.warning("topic_awaited", topic=name, hint="The services create it, or we may not read it")
            self._missing.add(name)
            return
        self._missing.discard(name)
        assigned = {partition for partition in self._consumer.assignment() if partition.topic == name}
        if len(assigned) != topic.partitions:
            self._consumer.refresh_metadata()
        if self._judges[name].recreated(topic, assigned):
            self._consumer.refresh_metadata()
            exist = frozenset(partitions_of(topic))
            offsets = self._consumer.next_offsets()
            await self._move({partition: offsets[partition] for partition in exist & offsets.keys()})


async def _tried(change: Awaitable[None]) -> None:
    """Change where we read; if Kafka does not know yet, the next poll finds the same."""
    try:
        await change
    except (KafkaTimeoutError, UnknownTopicOrPartitionError):
        await asyncio.sleep(_RETRY_S)


def partitions_of(topic: TopicDescription) -> list[TopicPartition]:
    """All partitions of a topic."""
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]
