"""Where a subscriber reads on: it never skips events silently."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from structlog.testing import capture_logs

from framematch.core import record_reader
from framematch.core.event_reader import EventReader
from framematch.core.events import MatchEvent, decode, encode
from framematch.core.kafka.offsets import OffsetJudge, StartAt, first_to_read
from framematch.core.kafka.protocols import Committed
from framematch.core.kafka.topic_descriptions import TopicDescription
from framematch.core.settings import KafkaSettings
from framematch.core.subscribe import select_matches
from tests.sample_events import match_event

PARTITION = TopicPartition("framematch.matches", 0)


class FakeConsumer:
    """A member of a group that owns one partition, with an event at each of the `available` offsets."""

    def __init__(self, available: range, committed: int | None) -> None:
        self.available = available
        self.offset = committed
        self.position: int | None = committed
        self.id = b"first"
        self.commit_id: bytes | None = None
        self.partitions = 1
        self.topic_ids: dict[str, bytes | None] = {}

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    async def commits(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Committed | None]:
        own = None if self.offset is None else Committed(self.offset, self.commit_id)
        return {one: own if one == PARTITION else None for one in partitions}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.offset, self.commit_id = offsets[PARTITION], self.topic_ids[PARTITION.topic]

    async def describe(self, *topics: str) -> dict[str, TopicDescription]:
        return {name: TopicDescription(name, self.id, self.partitions) for name in topics}

    def refresh_metadata(self) -> None:
        """Not needed."""

    def next_offsets(self) -> dict[TopicPartition, int]:
        return {} if self.position is None else {PARTITION: self.position}

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, self.available.start)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, self.available.stop)

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self.position = offset

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        del timeout_ms
        assert max_records == 1
        if self.position is None:
            raise NoOffsetForPartitionError(PARTITION)
        if self.position == self.available.stop:
            return {}
        if self.position not in self.available:
            raise OffsetOutOfRangeError({PARTITION: self.position})
        self.position += 1
        return {PARTITION: [_record(self.position - 1)]}


def _record(offset: int) -> Any:
    return ConsumerRecord(
        topic=PARTITION.topic, partition=0, offset=offset, timestamp=0, timestamp_type=0, key=b"till-1",
        value=encode(match_event(offset)), checksum=None, serialized_key_size=0, serialized_value_size=0, headers=(),
    )  # fmt: skip


def reader_of(consumer: FakeConsumer, start: StartAt) -> EventReader[Any]:
    return EventReader(consumer, KafkaSettings(), PARTITION.topic, select_matches(), start=start, commits=True)


async def next_number(reader: EventReader[Any]) -> int:
    return int((await anext(reader)).event.frame.sequence)


def jumps(logs: Any) -> list[tuple[int, int, int, str]]:
    found = [line for line in logs if line["event"] == "offsets_jumped"]
    return [(line["from_offset"], line["to_offset"], line["events_lost"], line["reason"]) for line in found]


@pytest.mark.parametrize("start", ["earliest", "latest"])
@pytest.mark.parametrize(
    ("committed", "jump"), [(5, (5, 12, 7, "retention")), (25, (25, 12, 0, "partition_truncated")), (14, None)]
)
async def test_a_committed_offset_that_kafka_does_not_have_is_reported_and_nothing_else_skipped(
    start: StartAt, committed: int, jump: tuple[int, int, int, str] | None
) -> None:
    reader = reader_of(FakeConsumer(range(12, 20), committed), start)
    with capture_logs() as logs:
        await reader.on_partitions_assigned([PARTITION])
        assert await next_number(reader) == (jump[1] if jump else committed)
    assert jumps(logs) == ([jump] if jump else [])


@pytest.mark.parametrize("start", ["earliest", "latest"])
async def test_a_subscriber_that_retention_overtakes_continues_at_the_earliest_event(start: StartAt) -> None:
    consumer = FakeConsumer(range(20), committed=3)
    reader = reader_of(consumer, start)
    await reader.on_partitions_assigned([PARTITION])
    assert await next_number(reader) == 3
    consumer.available = range(15, 30)
    with capture_logs() as logs:
        assert await next_number(reader) == 15
    assert jumps(logs) == [(4, 15, 11, "retention")]


async def test_the_present_end_is_committed_so_that_a_rebalance_skips_nothing() -> None:
    consumer = FakeConsumer(range(20), committed=None)
    reader = reader_of(consumer, "latest")
    await reader.on_partitions_assigned([PARTITION])
    await reader.on_partitions_revoked([PARTITION])
    consumer.available, consumer.position = range(25), consumer.offset
    await reader.on_partitions_assigned([PARTITION])
    assert await next_number(reader) == 20


async def test_a_start_that_failed_at_the_assignment_is_found_by_the_next_poll() -> None:
    reader = reader_of(FakeConsumer(range(4, 20), committed=None), "earliest")
    with capture_logs() as logs:
        assert [await next_number(reader), await next_number(reader)] == [4, 5]
    assert jumps(logs) == []


@pytest.mark.parametrize("events", [range(1), range(7), range(30)])
async def test_a_topic_that_was_recreated_is_read_from_its_first_event(
    events: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_reader, "_CHECK_INTERVAL_S", 0.0)
    consumer = FakeConsumer(range(20), committed=6)
    reader = reader_of(consumer, "latest")
    await reader.on_partitions_assigned([PARTITION])
    assert await next_number(reader) == 6
    consumer.available, consumer.id = events, b"second"
    with capture_logs() as logs:
        assert await next_number(reader) == 0
        assert jumps(logs) == [(7, 0, 0, "topic_recreated")]
        await reader.commit()
    assert (consumer.offset, consumer.commit_id) == (0, b"second")


async def test_an_offset_that_was_committed_for_an_earlier_topic_is_not_used() -> None:
    consumer = FakeConsumer(range(20), committed=6)
    consumer.commit_id = b"an earlier one"
    reader = reader_of(consumer, "latest")
    await reader.on_partitions_assigned([PARTITION])
    assert await next_number(reader) == 0


async def test_a_partition_that_was_added_is_read_from_its_first_event() -> None:
    consumer = FakeConsumer(range(20), committed=None)
    added = TopicPartition(PARTITION.topic, 1)
    judge = OffsetJudge(consumer, PARTITION.topic, "latest", commits=True, unit="events")
    assert (await judge.start([PARTITION]))[PARTITION].offset == 20
    consumer.partitions = 2
    assert (await judge.start([PARTITION, added]))[added].offset == 0


@pytest.mark.parametrize(
    ("committed", "start_at", "expected"),
    [(None, "earliest", 5), (None, "latest", 9), (5, "latest", 5), (9, "earliest", 9), (4, "latest", 5),
     (10, "latest", 5)],
)  # fmt: skip
def test_the_first_offset_to_read(committed: int | None, start_at: StartAt, expected: int) -> None:
    assert first_to_read(range(5, 9), committed, start_at) == expected


def test_an_event_that_is_nested_too_deeply_is_no_event() -> None:
    deep = b'{"schema": "match.v1", "new": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(msgspec.DecodeError, match="recursion"):
        decode(deep, MatchEvent)
