"""Reads single records of a topic by their coordinates."""

from aiokafka import ConsumerRecord, TopicPartition

from framematch.core.kafka.clients import kafka_errors
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.partition_reader import PartitionReader
from framematch.core.settings import KafkaSettings


class RecordFinder:
    """Owns the assignment of `consumer`, which has no group and `auto_offset_reset="none"`."""

    def __init__(self, consumer: Consumer, topic: str, kafka: KafkaSettings) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._topic = topic

    async def find(self, partition: int, offset: int) -> ConsumerRecord | None:
        """The record; None when Kafka does not have it, or not any more.

        Raises:
            KafkaUnavailableError: the broker does not answer, or not with what was asked.
        """
        place = TopicPartition(self._topic, partition)
        with kafka_errors(self._kafka):
            self._consumer.assign([place])
            if offset not in (await offset_ranges(self._consumer, [place]))[place]:
                return None
            records = await PartitionReader(self._consumer, place, offset, offset + 1).read()
        return records[0] if records else None
