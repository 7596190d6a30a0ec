"""Reads one partition from an offset up to its present end, in parts, beside other partitions of the same consumer."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.protocols import OffsetSource

log = structlog.get_logger()

_POLL_MS = 500
_SILENCE_S = 30.0  # the records exist, so a longer silence means that the broker does not answer


class PartConsumer(OffsetSource, Protocol):
    """What is used of our `Consumer`, to which the partitions are assigned by hand."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from this offset."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing from these."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch from these again."""

    def next_offsets(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition, behind everything returned and behind offsets without a record."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Some records of these partitions; empty after the timeout."""


class PartitionReader:
    """The records of `partition` at the offsets `[start, stop)`.

    The partition is fetched only while it is read here, and all that was fetched is returned. So one part is in memory
    for all partitions together: 4 MB, or one record that is larger.
    """

    def __init__(
        self, consumer: PartConsumer, partition: TopicPartition, start: int, stop: int, *, silence_s: float = _SILENCE_S
    ) -> None:
        self._consumer = consumer
        self._partition = partition
        self.stop = stop
        """Where reading ends."""
        self._silence_s = silence_s
        self.position = start
        """The next offset to read."""
        self.deleted_below = 0
        """Kafka deleted records below this offset while they were to be read; 0: none."""
        consumer.seek(partition, start)
        consumer.pause(partition)

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.position >= self.stop

    async def read(self) -> Sequence[ConsumerRecord]:
        """The next records, at least one unless the end is reached.

        Raises:
            KafkaUnavailableError: the broker sent nothing for `silence_s`.
            KafkaError: as of aiokafka.
        """
        if self.at_end:
            return []
        self._consumer.resume(self._partition)
        try:
            return await self._read()
        finally:
            self._consumer.pause(self._partition)

    async def _read(self) -> Sequence[ConsumerRecord]:
        last_progress_s = time.monotonic()
        while not self.at_end:
            before = self.position
            try:
                found = await self._consumer.getmany(self._partition, timeout_ms=_POLL_MS)
            except OffsetOutOfRangeError:
                await self._skip_deleted()
                continue
            self.position = self._consumer.next_offsets().get(self._partition, self.position)
            if records := [one for one in found.get(self._partition, ()) if before <= one.offset < self.stop]:
                return records
            if self.position > before:
                last_progress_s = time.monotonic()
            elif time.monotonic() - last_progress_s > self._silence_s:
                raise KafkaUnavailableError(
                    f"{self._partition.topic} could not be read: nothing came for {self._silence_s:g} s",
                    hint="Check the broker, and that we may read the topic",
                )
        return []

    async def _skip_deleted(self) -> None:
        """Read on at the first record that Kafka still has."""
        first = (await self._consumer.beginning_offsets([self._partition]))[self._partition]
        log.warning(
            "offsets_jumped", topic=self._partition.topic, partition=self._partition.partition,
            from_offset=self.position, to_offset=first, reason="retention",
        )  # fmt: skip
        self.deleted_below = first
        self.position = max(first, self.position)
        self._consumer.seek(self._partition, self.position)
