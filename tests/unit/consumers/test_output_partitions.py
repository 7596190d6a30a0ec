"""Events go to the partition with their frame's number, whoever chose that one, and by whatever rule."""

from typing import Any

import pytest

from consumers.delivery.output_partitions import OutputPartitions
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics

TOPICS = Topics("shop")


class FakeProducer:
    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    async def partitions_for(self, _topic: str) -> set[int]:
        return set(range(self._partitions))


@pytest.mark.parametrize(
    ("topic", "output", "frames", "chosen"),
    [
        (TOPICS.matches, 12, 12, 5),
        (TOPICS.sightings, 12, 12, 5),
        (TOPICS.matches, 6, 12, None),
        (TOPICS.matches, 24, 12, None),
        (TOPICS.matches, 12, None, None),
        (TOPICS.deadletter, 12, 12, None),
    ],
)
async def test_the_number_of_the_frames_partition_is_used_where_both_topics_have_as_many(
    topic: str, output: int, frames: int | None, chosen: int | None
) -> None:
    producer: Any = FakeProducer(output)
    partitions = OutputPartitions(TOPICS, lambda: frames)
    assert await partitions.choose(producer, ProducerRecord(topic, b"till-1", b"{}"), 5) == chosen
