"""Reading in batches: nothing is committed before it is handled, and a missing topic stops no other."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, NoOffsetForPartitionError

from framematch.core import record_reader
from framematch.core.kafka.protocols import Committed
from framematch.core.kafka.topic_descriptions import TopicDescription
from framematch.core.record_reader import RecordReader
from framematch.core.settings import KafkaSettings

FIRST, SECOND = TopicPartition("shop.first", 0), TopicPartition("shop.second", 0)


class FakeConsumer:
    """The only member of a group that reads two topics, each with ten records in one partition."""

    def __init__(self) -> None:
        self.topics = {FIRST.topic, SECOND.topic}
        self.positions: dict[TopicPartition, int] = {}
        self.offsets: dict[TopicPartition, int] = {}
        self.topic_ids: dict[str, bytes | None] = {}
        self.answers = True
        self.gap = 0

    def assignment(self) -> Collection[TopicPartition]:
        return {FIRST, SECOND}

    async def commits(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Committed | None]:
        return {one: Committed(self.offsets[one]) if one in self.offsets else None for one in partitions}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.offsets |= offsets

    async def describe(self, *topics: str) -> dict[str, TopicDescription]:
        if not self.answers:
            raise KafkaConnectionError("away")
        return {name: TopicDescription(name, b"id", 1) for name in topics if name in self.topics}

    def refresh_metadata(self) -> None:
        """Not needed."""

    def next_offsets(self) -> dict[TopicPartition, int]:
        return {one: offset + self.gap for one, offset in self.positions.items()}

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 10)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        del timeout_ms
        if missing := {FIRST, SECOND} - self.positions.keys():
            raise NoOffsetForPartitionError(*missing)
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        for partition in (FIRST, SECOND):
            while self.positions[partition] < 10 and sum(map(len, found.values())) < max_records:
                found.setdefault(partition, []).append(_record(partition, self.positions[partition]))
                self.positions[partition] += 1
        return found


def _record(partition: TopicPartition, offset: int) -> Any:
    return ConsumerRecord(
        topic=partition.topic, partition=0, offset=offset, timestamp=0, timestamp_type=0, key=None, value=b"",
        checksum=None, serialized_key_size=0, serialized_value_size=0, headers=(),
    )  # fmt: skip


async def reader_of(consumer: FakeConsumer) -> RecordReader:
    reader = RecordReader(consumer, KafkaSettings(), [FIRST.topic, SECOND.topic], start="earliest", commits=True)
    await reader.on_partitions_assigned(consumer.assignment())
    return reader


async def offsets_read(reader: RecordReader, size: int) -> list[tuple[str, int]]:
    return [(record.topic.rpartition(".")[2], record.offset) for record in await reader.read(size)]


async def test_a_batch_is_committed_only_after_it_is_handled() -> None:
    reader = await reader_of(consumer := FakeConsumer())
    assert len(await offsets_read(reader, 7)) == 7
    assert (await offsets_read(reader, 7))[2:4] == [("first", 9), ("second", 0)]
    await reader.commit()
    assert consumer.offsets == {FIRST: 0, SECOND: 0}
    reader.mark_handled()
    await reader.commit()
    assert consumer.offsets == {FIRST: 10, SECOND: 4}


async def test_offsets_without_a_record_count_only_when_nothing_is_left_to_handle() -> None:
    reader = await reader_of(consumer := FakeConsumer())
    await offsets_read(reader, 20)
    consumer.gap = 3  # the end of a transaction, and what compaction has removed
    assert await offsets_read(reader, 20) == []
    await reader.commit()
    assert consumer.offsets == {FIRST: 0, SECOND: 0}
    reader.mark_handled()
    await offsets_read(reader, 20)
    await reader.commit()
    assert consumer.offsets == {FIRST: 13, SECOND: 13}


async def test_after_a_rebalance_the_batch_of_before_is_read_again_and_not_committed() -> None:
    reader = await reader_of(consumer := FakeConsumer())
    await offsets_read(reader, 4)
    reader.mark_handled()
    await offsets_read(reader, 4)
    await reader.on_partitions_revoked(consumer.assignment())
    await reader.on_partitions_assigned(consumer.assignment())
    reader.mark_handled()  # of the batch that was read before
    await reader.commit()
    assert consumer.offsets[FIRST] == 4
    assert await offsets_read(reader, 1) == [("first", 4)]


async def test_a_topic_that_is_missing_does_not_keep_the_others_from_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = FakeConsumer()
    consumer.topics = {SECOND.topic}
    reader = RecordReader(consumer, KafkaSettings(), [FIRST.topic, SECOND.topic], start="earliest", commits=True)
    assert await offsets_read(reader, 5) == []
    assert consumer.positions == {SECOND: 0}
    monkeypatch.setattr(record_reader, "_CHECK_INTERVAL_S", 0.0)
    consumer.topics.add(FIRST.topic)
    assert await offsets_read(reader, 5) == []
    assert len(await offsets_read(reader, 5)) == 5


async def test_it_says_whether_kafka_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_reader, "_CHECK_INTERVAL_S", 0.0)
    reader = await reader_of(consumer := FakeConsumer())
    consumer.answers = False
    await offsets_read(reader, 5)
    assert not reader.reachable
    consumer.answers = True
    await offsets_read(reader, 5)
    assert reader.reachable
