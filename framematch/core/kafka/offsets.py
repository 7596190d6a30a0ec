"""The offsets that Kafka has of a partition, and where to read when the next one is not among them."""

import asyncio
from collections.abc import Collection
from typing import Literal

from aiokafka import TopicPartition

from framematch.core.kafka.protocols import OffsetSource

StartAt = Literal["latest", "earliest"]


def first_to_read(available: range, committed: int | None, start_at: StartAt) -> int:
    """Where to read next; `start_at` is only for a partition without a committed offset.

    A committed offset that Kafka does not have is replaced by the earliest one that it has. Behind the end, the topic
    was recreated or an unclean leader election has cut it: which of its records are new is unknown.
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
