"""A consumer of partitions in memory, of which each fetch returns a part."""

from collections.abc import Collection, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import OffsetAndTimestamp


def record(partition: TopicPartition, offset: int, timestamp_ms: int, key: bytes = b"till-1") -> ConsumerRecord:
    return ConsumerRecord(partition.topic, partition.partition, offset, timestamp_ms, 0, key, b"", 0, 6, 0, ())


class FakePartitions:
    """Only partitions that are not paused are fetched, as in aiokafka. Offsets without a record are skipped."""

    def __init__(self, records: Mapping[TopicPartition, Sequence[ConsumerRecord]], *, part: int = 2) -> None:
        self.records = {one: list(found) for one, found in records.items()}
        self.ends = {one: found[-1].offset + 1 if found else 0 for one, found in self.records.items()}
        self.part = part
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {one: self.records[one][0].offset if self.records[one] else self.ends[one] for one in partitions}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {one: self.ends[one] for one in partitions}

    async def offsets_for_times(
        self, timestamps: dict[TopicPartition, int]
    ) -> Mapping[TopicPartition, OffsetAndTimestamp | None]:
        found = {}
        for one, at_ms in timestamps.items():
            later = [record for record in self.records[one] if record.timestamp >= at_ms]
            found[one] = OffsetAndTimestamp(later[0].offset, later[0].timestamp) if later else None
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused -= set(partitions)

    def next_offsets(self) -> Mapping[TopicPartition, int]:
        return dict(self.positions)

    def delete_below(self, partition: TopicPartition, offset: int) -> None:
        self.records[partition] = [one for one in self.records[partition] if one.offset >= offset]

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        [partition] = partitions
        assert partition not in self.paused
        position, stored = self.positions[partition], self.records[partition]
        if stored and position < stored[0].offset:
            raise OffsetOutOfRangeError({partition: position})
        found = [one for one in stored if one.offset >= position][: self.part]
        if found:
            self.positions[partition] = found[-1].offset + 1
        elif timeout_ms:
            self.positions[partition] = self.ends[partition]
        return {partition: found} if found else {}
