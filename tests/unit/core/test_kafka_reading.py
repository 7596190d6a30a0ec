"""A topic is read up to the end that it has at the start."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.reading import read_to_end

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def record(partition: TopicPartition, offset: int) -> Any:
    return ConsumerRecord(
        topic=partition.topic, partition=partition.partition, offset=offset, timestamp=0, timestamp_type=0, key=None,
        value=None, checksum=None, serialized_key_size=0, serialized_value_size=0, headers=(),
    )  # fmt: skip


class FakeConsumer:
    """Partitions with records at some offsets below an end; it returns `fetch` offsets at once."""

    def __init__(
        self, logs: Mapping[TopicPartition, Collection[int]], ends: Mapping[TopicPartition, int], fetch: int
    ) -> None:
        self._logs, self._ends, self._fetch = logs, ends, fetch
        self.positions = dict.fromkeys(logs, 0)

    def assignment(self) -> Collection[TopicPartition]:
        return self._logs.keys()

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {partition: self._ends[partition] for partition in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        del timeout_ms
        found = {}
        for partition in partitions:
            start = self.positions[partition]
            stop = self.positions[partition] = min(start + self._fetch, self._ends[partition])
            found[partition] = [
                record(partition, offset) for offset in range(start, stop) if offset in self._logs[partition]
            ]
        return {partition: records for partition, records in found.items() if records}


async def offsets_read(
    consumer: FakeConsumer, ranges: Mapping[TopicPartition, range]
) -> dict[TopicPartition, list[int]]:
    found: dict[TopicPartition, list[int]] = {partition: [] for partition in ranges}
    async for one in read_to_end(consumer, ranges):
        found[TopicPartition(one.topic, one.partition)].append(one.offset)
    return found


async def test_all_records_of_all_partitions_are_read_in_order() -> None:
    consumer = FakeConsumer({A: range(5), B: range(3)}, {A: 5, B: 3}, fetch=2)
    assert await offsets_read(consumer, await offset_ranges(consumer, [A, B])) == {A: [0, 1, 2, 3, 4], B: [0, 1, 2]}


async def test_offsets_without_a_record_such_as_the_end_of_a_transaction_are_passed() -> None:
    consumer = FakeConsumer({A: [1, 3]}, {A: 6}, fetch=2)
    assert await offsets_read(consumer, await offset_ranges(consumer, [A])) == {A: [1, 3]}


async def test_empty_partitions_are_not_read() -> None:
    consumer = FakeConsumer({A: [], B: [0]}, {A: 0, B: 1}, fetch=2)
    assert await offsets_read(consumer, await offset_ranges(consumer, [A, B])) == {A: [], B: [0]}


@given(start=st.integers(0, 20), length=st.integers(0, 20), fetch=st.integers(1, 30))
async def test_records_behind_the_range_are_left_for_the_next_read(start: int, length: int, fetch: int) -> None:
    consumer = FakeConsumer({A: range(50)}, {A: 50}, fetch)
    wanted = range(start, start + length)
    assert await offsets_read(consumer, {A: wanted}) == {A: list(wanted)}
    if wanted:
        assert consumer.positions[A] == wanted.stop


async def test_a_broker_that_sends_nothing_is_unavailable() -> None:
    class Silent(FakeConsumer):
        async def getmany(
            self, *_partitions: TopicPartition, timeout_ms: int
        ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
            del timeout_ms
            return {}

    consumer = Silent({A: range(5)}, {A: 5}, fetch=2)
    with pytest.raises(KafkaUnavailableError, match="t could not be read: nothing came for 0 s"):
        await anext(read_to_end(consumer, {A: range(5)}, silence_s=0.0))
