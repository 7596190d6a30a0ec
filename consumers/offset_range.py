"""The offsets that Kafka has of a partition, and where to read when the next one is not among them."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from aiokafka import TopicPartition

from framematch.core.kafka.protocols import GroupConsumer

StartAt = Literal["earliest", "latest"]


@dataclass(frozen=True)
class OffsetRange:
    """The offsets of a partition: from `start`, before which all is deleted, to `end`, which is not written yet."""

    start: int
    end: int

    def first_to_read(self, committed: int | None, start_at: StartAt) -> int:
        """Where to read next; `start_at` is only for a partition without a committed offset.

        A committed offset that Kafka does not have is replaced by the earliest one that it has. Behind the end, the
        topic was recreated or an unclean leader election has cut it: nobody knows which of its frames are new.
        """
        if committed is None:
            return self.start if start_at == "earliest" else self.end
        return committed if self.start <= committed <= self.end else self.start


async def offset_ranges(
    consumer: GroupConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, OffsetRange]:
    """Ask Kafka which offsets each partition has.

    Raises:
        KafkaError: the broker refuses or does not answer.
    """
    starts, ends = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
    return {partition: OffsetRange(starts[partition], ends[partition]) for partition in partitions}
