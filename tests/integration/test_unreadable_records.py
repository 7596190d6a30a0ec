"""Records on a real broker that no client can decode: they are named and counted, and nothing else is lost."""

import uuid
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from structlog.testing import capture_logs

from framematch import subscribe
from framematch.core.events import encode
from framematch.core.kafka.clients import client_options, new_consumer, new_producer, started
from framematch.core.kafka.consumer import UnreadableRecords
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.reading import read_to_end
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.record_batches import Damage, broken_payload, flip_a_bit, unknown_codec
from tests.sample_events import match_event
from tests.support import eventually

pytestmark = pytest.mark.integration

DAMAGES = pytest.mark.parametrize("damage", [flip_a_bit, unknown_codec, broken_payload])


class Site:
    """Topics of the test's own, with one partition; a test may write to the broker's disk."""

    def __init__(self, kafka: KafkaServer) -> None:
        prefix = f"unreadable-{uuid.uuid4().hex[:8]}"
        self.kafka = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=1)
        self.topics = Topics(prefix)
        self._data = kafka.folder / "data"

    async def publish(self, topic: str, *values: bytes) -> None:
        """Each value in a batch of its own."""
        await ensure_topics(self.kafka)
        async with started(new_producer(self.kafka), self.kafka) as producer:
            for value in values:
                await producer.send_and_wait(topic, value, key=b"till-1")

    def damage(self, topic: str, offset: int, damage: Damage) -> None:
        """Damage the batch with this record on the disk."""
        file = Path(self._data / f"{topic}-0" / "00000000000000000000.log")
        data, position = bytearray(file.read_bytes()), 0
        for _ in range(offset):
            position += 12 + int.from_bytes(data[position + 8 : position + 12], "big")
        end = position + 12 + int.from_bytes(data[position + 8 : position + 12], "big")
        data[position:end] = damage(data[position:end])
        with file.open("r+b") as log:
            log.write(data)


@pytest.fixture
def site(kafka: KafkaServer) -> Site:
    return Site(kafka)


def unreadable(logs: Sequence[MutableMapping[str, Any]]) -> list[tuple[int, int]]:
    found = [line for line in logs if line["event"] == "records_unreadable"]
    return [(line["from_offset"], line["to_offset"]) for line in found]


@pytest.mark.parametrize("by_the_broker", [False, True])
async def test_every_compression_is_read(site: Site, by_the_broker: bool) -> None:
    topic, codecs = f"{site.kafka.topic_prefix}.compressed", ["gzip", "snappy", "lz4", "zstd"]
    config = {"compression.type": "zstd" if by_the_broker else "producer"}
    async with started(AIOKafkaAdminClient(**client_options(site.kafka)), site.kafka) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=config)])
    for codec in [None, *codecs]:
        producer = AIOKafkaProducer(bootstrap_servers=site.kafka.bootstrap_servers, compression_type=codec)
        async with started(producer, site.kafka):
            await producer.send_and_wait(topic, b"a" * 500)
    consumer = new_consumer(site.kafka, topic, auto_offset_reset="earliest")
    async with started(consumer, site.kafka):
        ranges = await offset_ranges(consumer, consumer.assignment())
        assert [record.value async for record in read_to_end(consumer, ranges)] == [b"a" * 500] * 5


@DAMAGES
async def test_a_damaged_batch_costs_no_other_record_and_is_reported(site: Site, damage: Damage) -> None:
    topic, found = site.topics.frames, list[UnreadableRecords]()
    await site.publish(topic, *(b"%d" % number * 50 for number in range(6)))
    site.damage(topic, 2, damage)
    site.damage(topic, 4, damage)
    seen: list[int] = []
    consumer = new_consumer(site.kafka, topic, auto_offset_reset="earliest", on_unreadable=found.append)
    with capture_logs() as logs:
        async with started(consumer, site.kafka):

            async def all_read() -> bool:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    seen.extend(record.offset for record in records)
                return 5 in seen

            await eventually(all_read)
    assert seen == [0, 1, 3, 5]
    assert unreadable(logs) == [(2, 3), (4, 5)]
    assert [(one.partition, one.first, one.stop) for one in found] == [
        (TopicPartition(topic, 0), 2, 3),
        (TopicPartition(topic, 0), 4, 5),
    ]


@DAMAGES
async def test_a_topic_is_read_to_its_end_around_a_damaged_batch(site: Site, damage: Damage) -> None:
    topic = site.topics.deadletter
    await site.publish(topic, b"a" * 50, b"b" * 50, b"c" * 50)
    site.damage(topic, 2, damage)
    consumer = new_consumer(site.kafka, topic, auto_offset_reset="earliest", isolation_level="read_committed")
    with capture_logs() as logs:
        async with started(consumer, site.kafka):
            ranges = await offset_ranges(consumer, consumer.assignment())
            assert [record.offset async for record in read_to_end(consumer, ranges)] == [0, 1]
    assert unreadable(logs) == [(2, 3)]


@DAMAGES
async def test_a_subscriber_reads_around_a_damaged_batch(site: Site, damage: Damage) -> None:
    await site.publish(site.topics.matches, *(encode(match_event(number)) for number in range(4)))
    site.damage(site.topics.matches, 1, damage)
    with capture_logs() as logs:
        async with subscribe(
            bootstrap_servers=site.kafka.bootstrap_servers,
            topic_prefix=site.kafka.topic_prefix,
            group_id=site.kafka.topic_prefix,
            start="earliest",
        ) as events:
            assert [(await anext(events)).frame.sequence for _ in range(3)] == [0, 2, 3]
    assert unreadable(logs) == [(1, 2)]
