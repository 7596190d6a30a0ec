"""The records of a range of time, in a topic whose timestamps are in no order."""

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from consumers.replay.frame_records import LATER_IN_A_ROW, FrameRecords, FramesPlan, plan_frames
from consumers.replay.time_range import TimeRange
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.partition_reader import PartitionReader
from tests.unit.consumers.replay.fake_partitions import FakePartitions, record

ONE, OTHER = TopicPartition("frames", 0), TopicPartition("frames", 1)
WANTED = TimeRange(10_000_000, 20_000_000)  # in microseconds; records have milliseconds
NOT_DELETED_US = 0
LONG_AGO_US = 60_000_000


def at(*times_ms: int, partition: TopicPartition = ONE, first: int = 0) -> list[ConsumerRecord]:
    return [record(partition, first + number, time_ms) for number, time_ms in enumerate(times_ms)]


async def times_of(consumer: FakePartitions) -> list[int]:
    """The timestamps of the range's records in the partition `ONE`."""
    [plan] = await plan_frames(consumer, [ONE], WANTED, deleted_before_us=NOT_DELETED_US)
    records, found = FrameRecords(consumer, plan, WANTED), []
    while (part := await records.read()) is not None:
        found += [one.timestamp for one in part]
    return found


async def test_records_of_the_range_are_found_in_whatever_order_they_are() -> None:
    consumer = FakePartitions({ONE: at(1, 9_999, 10_000, 25_000, 12_000, 3, 19_999, 20_000, 15_000, 30_000)})
    assert await times_of(consumer) == [10_000, 12_000, 19_999, 15_000]


async def test_reading_ends_behind_enough_later_records() -> None:
    later = [20_000] * LATER_IN_A_ROW
    consumer = FakePartitions({ONE: at(10_000, *later[1:], 11_000, *later, 12_000)}, part=1)
    assert await times_of(consumer) == [10_000, 11_000]
    assert consumer.positions[ONE] == 2 * LATER_IN_A_ROW + 1


async def test_a_plan_says_where_the_range_is_and_which_frames_are_gone() -> None:
    consumer = FakePartitions({ONE: at(5_000, 12_000, 21_000), OTHER: at(13_000, 14_000, first=7, partition=OTHER)})
    plans = await plan_frames(consumer, [ONE, OTHER], WANTED, deleted_before_us=LONG_AGO_US)
    assert plans == [
        FramesPlan(ONE, start=1, stop=3, expected_stop=2, gone_before_us=None),
        FramesPlan(OTHER, start=7, stop=9, expected_stop=9, gone_before_us=13_000_000),
    ]


async def test_frames_younger_than_the_retention_are_not_gone() -> None:
    consumer = FakePartitions({ONE: at(13_000, first=7)})
    [plan] = await plan_frames(consumer, [ONE], WANTED, deleted_before_us=WANTED.since_us)
    assert plan.gone_before_us is None


async def test_of_a_partition_that_kafka_has_emptied_all_frames_are_gone() -> None:
    consumer = FakePartitions({ONE: at(13_000, first=7)})
    consumer.delete_below(ONE, 8)
    [plan] = await plan_frames(consumer, [ONE], WANTED, deleted_before_us=LONG_AGO_US)
    assert (plan.start, plan.stop, plan.gone_before_us) == (8, 8, WANTED.until_us)


async def test_records_that_kafka_deletes_meanwhile_are_skipped_and_reported() -> None:
    consumer = FakePartitions({ONE: at(*range(10_000, 10_010))})
    reader = PartitionReader(consumer, ONE, 0, 10)
    assert [one.offset for one in await reader.read()] == [0, 1]
    consumer.delete_below(ONE, 5)
    assert [one.offset for one in await reader.read()] == [5, 6]
    assert reader.deleted_below == 5


async def test_a_reader_ends_behind_offsets_without_a_record() -> None:
    consumer = FakePartitions({ONE: at(10_000, 10_001)})
    consumer.ends[ONE] = 6  # as after an aborted transaction
    reader = PartitionReader(consumer, ONE, 0, 6)
    assert [one.offset for one in await reader.read()] == [0, 1]
    assert await reader.read() == []
    assert reader.at_end


async def test_a_partition_is_fetched_only_while_it_is_read() -> None:
    consumer = FakePartitions({ONE: at(10_000, 10_001, 10_002)})
    reader = PartitionReader(consumer, ONE, 0, 3)
    assert ONE in consumer.paused
    await reader.read()
    assert ONE in consumer.paused


async def test_a_broker_that_sends_nothing_is_reported() -> None:
    class Silent(FakePartitions):
        async def getmany(self, *_: TopicPartition, **_options: int) -> dict[TopicPartition, list[ConsumerRecord]]:
            return {}

    reader = PartitionReader(Silent({ONE: at(10_000)}), ONE, 0, 1, silence_s=0)
    with pytest.raises(KafkaUnavailableError, match="nothing came"):
        await reader.read()
