"""Finds the records of a range of time in the topic of frames, and says which of them Kafka has deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndTimestamp

from consumers.replay.time_range import TimeRange
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.partition_reader import PartConsumer, PartitionReader
from framematch.core.units import US_PER_MS

# The clocks of cameras differ, and spooled frames come late, so records are not in the order of their timestamps.
LATER_IN_A_ROW = 200
"""So many records behind the range end it: 2 s of frames of 20 cameras with 5 frames a second."""


class TimedConsumer(PartConsumer, Protocol):
    """A consumer that also finds offsets by time."""

    async def offsets_for_times(
        self, timestamps: dict[TopicPartition, int]
    ) -> Mapping[TopicPartition, OffsetAndTimestamp | None]:
        """The first record of each partition with this timestamp, in milliseconds, or a later one; None without any."""


@dataclass(frozen=True)
class FramesPlan:
    """Where a partition has records of the range.

    `start` is the first offset with such a timestamp, `stop` the present end of the partition, and `expected_stop` the
    first offset with a later one. `gone_before_us`: Kafka has deleted the partition's frames before that time, as far
    as there were any; None when it still has all of the range.
    """

    partition: TopicPartition
    start: int
    stop: int
    expected_stop: int
    gone_before_us: int | None


async def plan_frames(
    consumer: TimedConsumer, partitions: Sequence[TopicPartition], wanted: TimeRange, *, deleted_before_us: int
) -> list[FramesPlan]:
    """Look the range up in each partition. By its retention, Kafka deletes only frames `deleted_before_us`.

    Raises:
        KafkaError: as of aiokafka.
    """
    ranges = await offset_ranges(consumer, partitions)
    firsts = await consumer.offsets_for_times(dict.fromkeys(partitions, wanted.since_ms))
    lasts = await consumer.offsets_for_times(dict.fromkeys(partitions, wanted.until_us // US_PER_MS))
    plans = []
    for partition in partitions:
        known, first, last = ranges[partition], firsts[partition], lasts[partition]
        start = first.offset if first else known.stop
        gone_before_us = None
        if known.start and start <= known.start and wanted.since_us < deleted_before_us:
            first_us = first.timestamp * US_PER_MS if first else wanted.until_us
            gone_before_us = min(first_us, wanted.until_us)
        expected = min(last.offset if last else known.stop, known.stop)
        plans.append(FramesPlan(partition, start, known.stop, max(expected, start), gone_before_us))
    return plans


class FrameRecords:
    """Reads the records of one plan."""

    def __init__(self, consumer: PartConsumer, plan: FramesPlan, wanted: TimeRange) -> None:
        self._wanted = wanted
        self._reader = PartitionReader(consumer, plan.partition, plan.start, plan.stop)
        self._later = 0

    @property
    def position(self) -> int:
        """The next offset to read."""
        return self._reader.position

    @property
    def deleted_below(self) -> int:
        """Kafka deleted records below this offset while they were to be read; 0: none."""
        return self._reader.deleted_below

    async def read(self) -> Sequence[ConsumerRecord] | None:
        """The next records of the range, which may be none of what was read; None at the end.

        Raises:
            KafkaUnavailableError: Kafka does not answer.
            KafkaError: as of aiokafka.
        """
        if self._reader.at_end or self._later >= LATER_IN_A_ROW:
            return None
        found = []
        for record in await self._reader.read():
            if self._wanted.contains_ms(record.timestamp):
                found.append(record)
            is_later = record.timestamp * US_PER_MS >= self._wanted.until_us
            self._later = self._later + 1 if is_later else 0
        return found
