"""Reads Kafka topics up to their present end."""
# ruff: noqa: D102  # the methods of the Protocol are those of aiokafka

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from aiokafka import ConsumerRecord, TopicPartition

from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.protocols import OffsetSource

_POLL_MS = 500
_SILENCE_S = 30.0  # the records exist, so a longer silence means that the broker does not answer


class SeekableConsumer(OffsetSource, Protocol):
    """The methods of AIOKafkaConsumer that are used here."""

    def assignment(self) -> Collection[TopicPartition]: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    async def position(self, partition: TopicPartition) -> int: ...
    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]: ...


async def read_to_end(
    consumer: SeekableConsumer,
    ranges: Mapping[TopicPartition, range],
    *,
    poll_ms: int = _POLL_MS,
    silence_s: float = _SILENCE_S,
) -> AsyncIterator[ConsumerRecord]:
    """Yield the records at these offsets, partitions side by side, each partition in order.

    Some offsets have no record, such as the end of a transaction. Afterwards `consumer`, to which the partitions are
    assigned, is at the end of each range.

    Raises:
        KafkaUnavailableError: the broker sent nothing for `silence_s`.
        KafkaError: as of aiokafka.
    """
    open_ranges = {partition: offsets for partition, offsets in ranges.items() if offsets}
    for partition, offsets in open_ranges.items():
        consumer.seek(partition, offsets.start)
    last_progress_s = time.monotonic()
    while open_ranges:
        found = await consumer.getmany(*open_ranges, timeout_ms=poll_ms)
        for partition, records in found.items():
            last_progress_s = time.monotonic()
            for record in records:
                if record.offset in ranges[partition]:
                    yield record
        for partition, offsets in list(open_ranges.items()):
            position = await consumer.position(partition)
            if position >= offsets.stop:
                del open_ranges[partition]
            if position > offsets.stop:
                consumer.seek(partition, offsets.stop)
        if open_ranges and time.monotonic() - last_progress_s > silence_s:
            topics = ", ".join(sorted({partition.topic for partition in open_ranges}))
            raise KafkaUnavailableError(
                f"{topics} could not be read: nothing came for {silence_s:g} s",
                hint="Check the broker, and that we may read the topic",
            )
