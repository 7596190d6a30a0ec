"""Reads the records of some topics as they are published, and commits the offsets of a group once they are handled."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

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

from framematch.core.kafka.clients import kafka_errors, started
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.offsets import Jump, OffsetJudge, StartAt
from framematch.core.kafka.protocols import EventConsumer
from framematch.core.kafka.topic_descriptions import TopicDescription
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S

log = structlog.get_logger()

_COMMIT_INTERVAL_S = 1.0
_CHECK_INTERVAL_S = 5.0  # whether the topics are still the same
_CHECK_TIMEOUT_S = 2.0
_COMMIT_TIMEOUT_S = 5.0  # aiokafka would retry for as long as its broker is unavailable


class RecordReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Reads records without end, and never skips one silently.

    With a group, the handled records are committed within a second, before partitions are revoked, and at the end.
    """

    def __init__(
        self,
        consumer: EventConsumer,
        kafka: KafkaSettings,
        topics: Collection[str],
        *,
        start: StartAt,
        commits: bool,
        on_jump: Callable[[Jump], None] = lambda _jump: None,
    ) -> None:
        """`consumer` has `auto_offset_reset="none"`: it must not skip events silently. `start` is without a commit."""
        self.topics = tuple(topics)
        self.reachable = True
        """False while Kafka does not answer."""
        self._consumer = consumer
        self._kafka = kafka
        self._commits = commits
        self._judges = {
            name: OffsetJudge(consumer, name, start, commits=commits, unit="events", on_jump=on_jump) for name in topics
        }
        self._positions: dict[TopicPartition, int] = {}
        self._returned: dict[TopicPartition, int] = {}  # behind what was returned and is not handled yet
        self._handled: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._commit_at_s = time.monotonic() + _COMMIT_INTERVAL_S
        self._check_at_s = time.monotonic() + _CHECK_INTERVAL_S
        self._missing: set[str] = set()

    async def read(self, max_records: int, *, timeout_s: float = _COMMIT_INTERVAL_S) -> Sequence[ConsumerRecord]:
        """The next records, each partition in order; empty after `timeout_s`, also while Kafka is unavailable.

        Raises:
            KafkaUnavailableError: Kafka does not let us read.
        """
        if time.monotonic() >= self._commit_at_s:
            await self.commit()
        if time.monotonic() >= self._check_at_s:
            await self._check_topics()
        with kafka_errors(self._kafka):
            found = await self._poll(max_records, timeout_s)
        self._positions |= (ends := {one: records[-1].offset + 1 for one, records in found.items() if records})
        self._returned |= ends
        return [record for records in found.values() for record in records]

    def mark_handled(self) -> None:
        """Everything that `read` has returned is handled; after a rebalance, what was returned since then."""
        if self._commits:
            self._handled |= self._returned
        self._returned = {}

    async def _poll(self, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        try:
            found = await self._consumer.getmany(timeout_ms=int(timeout_s * MS_PER_S), max_records=max_records)
        except NoOffsetForPartitionError as error:  # on_partitions_assigned has failed, or a topic has grown
            with suppress(KafkaTimeoutError, UnknownTopicOrPartitionError):  # the next poll finds the same
                await self._start(error.args)
            return {}
        except OffsetOutOfRangeError as error:
            with suppress(KafkaTimeoutError, UnknownTopicOrPartitionError):
                await self._move(error.args[0])
            return {}
        if not found and self._commits and not self._returned:  # what has no record is handled too
            self._handled |= self._consumer.next_offsets()
        return found

    async def _start(self, partitions: Iterable[TopicPartition]) -> None:
        """Read partitions that have no position; a topic that is missing does not keep the others from being read."""
        missing: UnknownTopicOrPartitionError | None = None
        for topic, wanted in _by_topic(partitions).items():
            at = {one: offset for one, offset in self._positions.items() if one in wanted}
            try:
                starts = await self._judges[topic].start(wanted, at)
            except UnknownTopicOrPartitionError as error:
                missing = error
                continue
            for partition in starts.keys() & self._consumer.assignment():
                self._seek(partition, starts[partition].offset)
        if missing is not None:
            raise missing

    async def _move(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on elsewhere where Kafka does not have the next offsets."""
        for topic, wanted in _by_topic(positions).items():
            moved = await self._judges[topic].moved({one: positions[one] for one in wanted})
            now = self._consumer.next_offsets()
            for partition, offset in moved.items():
                if now.get(partition) == positions[partition]:  # else it was read, sought or revoked meanwhile
                    self._seek(partition, offset)

    def _seek(self, partition: TopicPartition, offset: int) -> None:
        self._consumer.seek(partition, offset)
        self._positions[partition] = offset
        if self._commits and partition not in self._returned:  # else the next rebalance would decide again
            self._handled[partition] = offset

    async def _check_topics(self) -> None:
        """Notice that a topic was deleted, or recreated: then our offsets are not those of the new one."""
        self._check_at_s = time.monotonic() + _CHECK_INTERVAL_S
        self.reachable = False
        with suppress(TimeoutError, KafkaError):  # while Kafka does not answer there is nothing to notice
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                found = await self._consumer.describe(*self.topics)
                self.reachable = True
                for name in self.topics:
                    await self._check_topic(name, found.get(name))

    async def _check_topic(self, name: str, topic: TopicDescription | None) -> None:
        if topic is None:
            if name not in self._missing:
                log.warning("topic_awaited", topic=name, hint="It was deleted, or we may not read it")
            self._missing.add(name)
            return
        self._missing.discard(name)
        ours = [one for one in self._consumer.assignment() if one.topic == name]
        if self._judges[name].recreated(topic, ours):
            self._consumer.refresh_metadata()
            for partition in ours:
                for offsets in (self._returned, self._handled, self._committed):
                    offsets.pop(partition, None)
            positions = self._consumer.next_offsets()
            await self._move({one: positions[one] for one in ours if one in positions})

    async def commit(self) -> None:
        """Commit the handled records; after a rebalance the broker may refuse, and the new owner gets them again."""
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
        """Commit the handled records, so that the next owner repeats as few as possible."""
        await self.commit()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Seek the committed offsets, or where there is none the start or the present end.

        An error in a rebalance is logged by aiokafka; the next poll then finds a partition without an offset.
        """
        self._positions.clear()
        self._returned.clear()
        self._committed.clear()
        await self._start(assigned)


@asynccontextmanager
async def reading(reader: RecordReader, consumer: Consumer, kafka: KafkaSettings) -> AsyncIterator[None]:
    """Run the reader's consumer inside the context, and commit at its end.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
    """
    consumer.subscribe(list(reader.topics), listener=reader)
    async with started(consumer, kafka):
        with kafka_errors(kafka):
            await reader.on_partitions_assigned(consumer.assignment())  # so that "latest" means now
        try:
            yield
        finally:
            await reader.commit()


def _by_topic(partitions: Iterable[TopicPartition]) -> dict[str, frozenset[TopicPartition]]:
    found: dict[str, set[TopicPartition]] = {}
    for partition in partitions:
        found.setdefault(partition.topic, set()).add(partition)
    return {topic: frozenset(each) for topic, each in found.items()}
