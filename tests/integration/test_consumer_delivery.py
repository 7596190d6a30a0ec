"""Delivery on a real broker: a zombie is fenced, committed output comes once, and every dead letter is taken."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.output_partitions import OutputPartitions
from consumers.delivery.record_encoder import RecordEncoder
from consumers.delivery.transactions import PartitionTransactions
from consumers.in_flight_frame import InFlightFrame, Rejected
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult
from framematch.core.errors import BadFrameError
from framematch.core.health import Health, new_registry
from framematch.core.kafka.clients import HEADROOM_BYTES, new_consumer, new_producer, started
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.support import eventually
from tests.unit.consumers.sample_frames import fetched, record

pytestmark = pytest.mark.integration


@dataclass
class Site:
    """Topics of the test's own, a group, and an input partition of which frames are answered."""

    kafka: KafkaSettings
    topics: Topics
    settings: ConsumerSettings
    partition: TopicPartition
    member: AIOKafkaConsumer

    async def committed_output(self, count: int) -> list[int]:
        """The offsets of the answers that a reader of committed records sees, once there are so many."""
        options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
        seen: list[int] = []
        async with started(new_consumer(self.kafka, self.topics.matches, **options), self.kafka) as reader:

            async def enough() -> bool:
                for records in (await reader.getmany(timeout_ms=100)).values():
                    seen.extend(int(one.value) for one in records)
                return len(seen) >= count

            await eventually(enough, message=f"{count} answers")
            for records in (await reader.getmany(timeout_ms=300)).values():  # those that should not be there
                seen.extend(int(one.value) for one in records)
        return seen


@pytest.fixture
async def site(kafka: KafkaServer) -> AsyncIterator[Site]:
    prefix = f"delivery-{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=1)
    await ensure_topics(settings)
    own = ConsumerSettings(group_id=prefix, session_timeout_ms=1_000, transaction_interval_ms=0)
    topics = Topics(prefix)
    async with started(new_consumer(settings, group_id=prefix), settings) as member:
        yield Site(settings, topics, own, TopicPartition(topics.frames, 0), member)


@dataclass
class Owner:
    """A consumer that believes it owns the partition, and the offsets that were reported to it as delivered."""

    site: Site
    delivered: list[int | None] = field(default_factory=list)

    def encode(self, result: FrameResult) -> list[ProducerRecord]:
        """One record: the frame's offset."""
        return [ProducerRecord(self.site.topics.matches, result.key, str(result.offset).encode())]

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[PartitionTransactions]:
        """The transactions of the partition, claimed and running."""
        encoder: Any = self
        context = DeliveryContext(
            offset_store=self.site.member,
            encoder=encoder,
            partitions=OutputPartitions(self.site.topics, lambda: 12),
            on_delivered=lambda answer: self.delivered.append(answer.offset),
            kafka=self.site.kafka,
            settings=self.site.settings,
            metrics=ConsumerMetrics(new_registry()),
            health=Health("output"),
        )
        own = PartitionTransactions(self.site.partition, context)
        await own.claim()
        task = asyncio.create_task(own.run())
        try:
            yield own
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])


def put(transactions: PartitionTransactions, *offsets: int) -> None:
    for offset in offsets:
        transactions.put(FrameResult.of(fetched(offset)))


async def test_a_zombie_is_fenced_and_repeats_nothing_that_the_owner_has_done(site: Site) -> None:
    zombie, owner = Owner(site), Owner(site)
    async with zombie.delivering() as late:
        put(late, 0, 1)
        await eventually(lambda: zombie.delivered == [0, 1])
        async with owner.delivering() as mine:
            put(late, 2, 3, 4)
            await asyncio.wait_for(late.fenced.wait(), 30)
            put(mine, 2, 3)
            await eventually(lambda: owner.delivered == [2, 3])
        # The owner has gone. After a session the zombie takes the partition back, and goes on behind the owner.
        await eventually(lambda: zombie.delivered == [0, 1, 2, 3, 4])
        assert not late.fenced.is_set()
    assert await site.committed_output(5) == [0, 1, 2, 3, 4]
    assert await site.member.committed(site.partition) == 5


async def test_what_a_killed_owner_has_not_committed_is_undone_when_the_next_one_claims(site: Site) -> None:
    own_id = f"{site.settings.group_id}-{site.partition.topic}-{site.partition.partition}"
    async with started(new_producer(site.kafka, transactional_id=own_id), site.kafka) as killed:
        await killed.begin_transaction()
        await (await killed.send(site.topics.matches, b"0", key=b"till-1"))
        await killed.send_offsets_to_transaction({site.partition: 1}, site.settings.group_id)
        owner = Owner(site)
        async with owner.delivering() as mine:
            assert await site.member.committed(site.partition) is None
            put(mine, 0)
            await eventually(lambda: owner.delivered == [0])
    assert await site.committed_output(1) == [0]
    assert await site.member.committed(site.partition) == 1


LARGEST = KafkaSettings().max_message_bytes
RECORDS = {
    "without key and value": record(0, key=None, value=None),
    "with a header without a value": record(1, headers=[("x-other", None), ("x-other", b"\xff\xfe"), ("", b"")]),
    "as large as its topic takes": record(2, value=bytes(LARGEST + HEADROOM_BYTES - 100)),
    "larger than that": record(3, value=bytes(2 * LARGEST)),
    "with a huge key": record(4, key=bytes(LARGEST), value=bytes(HEADROOM_BYTES)),
    "with a huge header": record(5, headers=[("x" * 100_000, bytes(LARGEST))]),
    "with very many headers": record(6, headers=[("x", None)] * 500_000),
}


async def test_the_broker_takes_the_dead_letter_of_every_record(site: Site) -> None:
    encoder = RecordEncoder(site.kafka, group_id="g")
    dead_letters: list[ConsumerRecord] = []
    options = {"auto_offset_reset": "earliest"}
    async with started(new_producer(site.kafka), site.kafka) as producer:
        for one in RECORDS.values():
            error = BadFrameError("headers", "é" * 5_000)
            rejected = InFlightFrame(one, "till-1", 0, outcome=Rejected("decode", error))
            (dead_letter,) = encoder.encode(FrameResult.of(rejected))
            await (
                await producer.send(
                    dead_letter.topic, dead_letter.value, key=dead_letter.key, headers=dead_letter.headers
                )
            )
    async with started(new_consumer(site.kafka, site.topics.deadletter, **options), site.kafka) as reader:

        async def all_there() -> bool:
            for found in (await reader.getmany(timeout_ms=100)).values():
                dead_letters.extend(found)
            return len(dead_letters) >= len(RECORDS)

        await eventually(all_there, message="all dead letters")
    whole = {name for name, dead_letter in zip(RECORDS, dead_letters, strict=True) if not _omitted(dead_letter)}
    assert whole == {"without key and value", "with a header without a value"}
    assert list(dead_letters[1].headers)[:3] == [("x-other", None), ("x-other", b"\xff\xfe"), ("", b"")]


def _omitted(dead_letter: ConsumerRecord) -> bool:
    return "deadletter_omitted_bytes" in dict(dead_letter.headers)
