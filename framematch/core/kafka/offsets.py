"""Where to read a topic: the one place that judges offsets against those that Kafka has, and against the topic's id."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from framematch.core.kafka.protocols import Committed, OffsetSource, TopicConsumer
from framematch.core.kafka.topic_descriptions import TopicDescription

log = structlog.get_logger()

StartAt = Literal["latest", "earliest"]
_ALL_BEFORE = 2**63 - 1  # of a topic that was recreated: what was published came of frames of the former one
Reason = Literal["retention", "partition_truncated", "topic_recreated"]


@dataclass(frozen=True)
class Jump:
    """Reading goes on at another offset than the next one, which Kafka does not have. `lost`: offsets in between."""

    partition: TopicPartition
    from_offset: int | None
    to_offset: int
    reason: Reason

    @property
    def lost(self) -> int:
        """Offsets that Kafka deleted before they were read."""
        return max(0, self.to_offset - (self.from_offset or 0)) if self.reason == "retention" else 0


@dataclass(frozen=True)
class Start:
    """Where a partition is read from. `processed_below`: records below it were processed earlier; None if none was."""

    offset: int
    processed_below: int | None


def first_to_read(available: range, committed: int | None, start_at: StartAt) -> int:
    """Where to read next; `start_at` is only for a partition without a committed offset.

    A committed offset that Kafka does not have is replaced by the earliest one that it has. Behind the end, an unclean
    leader election has cut the partition: which of its records are new is unknown.
    """
    if committed is None:
        return available.start if start_at == "earliest" else available.stop
    return committed if available.start <= committed <= available.stop else available.start


async def offset_ranges(consumer: OffsetSource, partitions: Collection[TopicPartition]) -> dict[TopicPartition, range]:
    """Ask Kafka which offsets each partition has.

    Raises:
        KafkaError: the broker refuses or does not answer.
    """
    starts, ends = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
    return {partition: range(starts[partition], ends[partition]) for partition in partitions}


class OffsetJudge:
    """Decides where the partitions of one topic are read, for as long as the consumer lives; logs each jump.

    A topic that was recreated is noticed by its id, which is remembered here and with each commit. Brokers before Kafka
    2.8 have no ids: there it is noticed only when the next offset is beyond the new topic's end.
    """

    def __init__(
        self,
        consumer: TopicConsumer,
        topic: str,
        start_at: StartAt,
        *,
        commits: bool,
        unit: Literal["frames", "events"],
        on_jump: Callable[[Jump], None] = lambda _jump: None,
    ) -> None:
        """`commits`: the consumer has a group. `unit`: what the topic contains, for the log."""
        self._consumer = consumer
        self._topic = topic
        self._start_at = start_at
        self._commits = commits
        self._unit = unit
        self._on_jump = on_jump
        self._first: TopicDescription | None = None
        self._ids: dict[TopicPartition, bytes | None] = {}  # of the topic when the partition was last judged
        self._judged: dict[TopicPartition, int] = {}
        self._reported: dict[TopicPartition, tuple[bytes | None, Jump]] = {}

    async def start(
        self, partitions: Collection[TopicPartition], positions: Mapping[TopicPartition, int] | None = None
    ) -> dict[TopicPartition, Start]:
        """Where to read partitions that were just assigned: at their commit, or for lack of one at `start_at`.

        `positions`, the next offsets of partitions that this reader has read before, go before commits. A partition
        that was added to the topic, or whose topic was recreated, is read from its first record: nobody has read it.

        Raises:
            UnknownTopicOrPartitionError: the topic does not exist.
            KafkaError: the broker refuses or does not answer.
        """
        if not partitions:
            return {}
        topic = await self._describe()
        ranges = await offset_ranges(self._consumer, partitions)
        commits = await self._committed(partitions)
        is_new = await self._unread(topic, commits)
        starts = {}
        for partition in partitions:
            known = commits[partition]
            if positions and partition in positions:
                known = Committed(positions[partition], self._ids.get(partition))
            expected = known.offset if known else None
            if self._recreated(partition, known, topic):
                former = self._judged.get(partition) if expected is None else expected
                starts[partition] = Start(ranges[partition].start, _ALL_BEFORE)
                self._report(topic, Jump(partition, former, starts[partition].offset, "topic_recreated"))
            else:
                start_at: StartAt = "earliest" if partition in is_new else self._start_at
                offset = first_to_read(ranges[partition], expected, start_at)
                starts[partition] = Start(offset, None if expected is None else min(expected, offset))
                self._report_move(topic, partition, expected, offset)
            self._remember(partition, topic, starts[partition].offset)
        return starts

    async def moved(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Of partitions that are read at these `positions`: those that must be read elsewhere, and where.

        Raises: as `start`.
        """
        topic = await self._describe()
        ranges = await offset_ranges(self._consumer, positions.keys())
        found = {}
        for partition, position in positions.items():
            if self._recreated(partition, None, topic):
                found[partition] = ranges[partition].start
                self._report(topic, Jump(partition, position, found[partition], "topic_recreated"))
            elif (offset := first_to_read(ranges[partition], position, "earliest")) != position:
                found[partition] = offset
                self._report_move(topic, partition, position, offset)
            self._remember(partition, topic, found.get(partition, position))
        return found

    def recreated(self, topic: TopicDescription, partitions: Iterable[TopicPartition]) -> bool:
        """Whether one of these partitions is read by offsets of an earlier topic with this name."""
        return any(self._recreated(partition, None, topic) for partition in partitions)

    async def _describe(self) -> TopicDescription:
        found = (await self._consumer.describe(self._topic)).get(self._topic)
        if found is None:
            raise UnknownTopicOrPartitionError(self._topic)
        self._first = self._first or found
        return found

    async def _committed(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, Committed | None]:
        return await self._consumer.commits(partitions) if self._commits else dict.fromkeys(partitions)

    async def _unread(
        self, topic: TopicDescription, commits: Mapping[TopicPartition, Committed | None]
    ) -> frozenset[TopicPartition]:
        """The partitions that are new to a group, or a reader, that reads the topic already."""
        candidates = frozenset(one for one, known in commits.items() if known is None and one not in self._ids)
        if not candidates or self._start_at == "earliest":
            return candidates
        first = self._first or topic
        if first.id != topic.id:
            return candidates
        others = {TopicPartition(self._topic, number) for number in range(topic.partitions)} - commits.keys()
        known = [*commits.values(), *(await self._committed(others)).values()] if self._commits else []
        if any(known):
            return candidates
        return frozenset(one for one in candidates if one.partition >= first.partitions)

    def _recreated(self, partition: TopicPartition, known: Committed | None, topic: TopicDescription) -> bool:
        """Whether the offset that we know, by a commit or by ourselves, is of an earlier topic with this name."""
        former = known.topic_id if known else self._ids.get(partition)
        return bool(former and topic.id and former != topic.id)

    def _remember(self, partition: TopicPartition, topic: TopicDescription, offset: int) -> None:
        self._ids[partition], self._judged[partition] = topic.id, offset
        self._consumer.topic_ids[self._topic] = topic.id

    def _report_move(
        self, topic: TopicDescription, partition: TopicPartition, expected: int | None, offset: int
    ) -> None:
        if expected is not None and expected != offset:
            reason: Reason = "retention" if expected < offset else "partition_truncated"
            self._report(topic, Jump(partition, expected, offset, reason))

    def _report(self, topic: TopicDescription, jump: Jump) -> None:
        if self._reported.get(jump.partition) == (topic.id, jump):
            return  # opening the partition, or moving to the new offset, is tried again
        self._reported[jump.partition] = (topic.id, jump)
        log.warning(
            "offsets_jumped",
            topic=self._topic,
            partition=jump.partition.partition,
            from_offset=jump.from_offset,
            to_offset=jump.to_offset,
            reason=jump.reason,
            **{f"{self._unit}_lost": jump.lost},
        )
        self._on_jump(jump)
