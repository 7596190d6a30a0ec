"""Offsets that a real Kafka does not have any more: the consumer continues, and reports what was lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumers.frame_consumer import FrameConsumer
from consumers.metrics import ConsumerMetrics
from framematch.core.health import Health, new_registry
from framematch.core.kafka.clients import client_options, new_consumer, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import ConsumerSettings, KafkaSettings, SightingSettings
from framematch.stack.kafka import KafkaServer
from tests.support import eventually
from tests.unit.consumers.fake_delivery import FakeDelivery

pytestmark = pytest.mark.integration

Log = Sequence[MutableMapping[str, Any]]


@dataclass
class Running:
    """A consumer that fetches from the topic."""

    client: AIOKafkaConsumer
    consumer: FrameConsumer
    delivery: FakeDelivery
    registry: CollectorRegistry
    health: Health

    @property
    def frames_lost(self) -> float | None:
        return self.registry.get_sample_value("framematch_consumer_frames_lost_total", {"reason": "retention"})

    async def measured_and(self, condition: object) -> object:
        """Measure, as the pipeline does once a second."""
        await self.consumer.refresh_lag()
        return condition

    def finish(self) -> None:
        """The stages finish every frame that was fetched."""
        assert self.consumer.assignment
        self.consumer.assignment.in_flight.drop_waiting()


class Site:
    """A frames topic of the test's own, with one partition, and a group."""

    def __init__(self, kafka: KafkaServer) -> None:
        prefix = f"fetch-{uuid.uuid4().hex[:8]}"
        self.kafka = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, partitions=1)
        self.partition = TopicPartition(Topics(prefix).frames, 0)
        self.group_id = prefix

    async def publish(self, frames: int, *, partition: int = 0) -> None:
        await ensure_topics(self.kafka)
        async with started(new_producer(self.kafka), self.kafka) as producer:
            for _ in range(frames):
                await producer.send_and_wait(self.partition.topic, b"jpeg", key=b"till-1", partition=partition)

    async def transact(self, frames: int, *, commit: bool) -> None:
        """Publish in one transaction, which is committed or aborted."""
        producer = new_producer(self.kafka, transactional_id=f"{self.group_id}-frames")
        async with started(producer, self.kafka):
            await producer.begin_transaction()
            for _ in range(frames):
                await producer.send_and_wait(self.partition.topic, b"jpeg", key=b"till-1", partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    async def commit(self, offset: int) -> None:
        """As a consumer that has processed the frames below."""
        async with self._group() as client:
            client.assign([self.partition])
            await client.commit({self.partition: offset})

    async def committed(self) -> int | None:
        async with self._group() as client:
            offset: int | None = await client.committed(self.partition)
            return offset

    async def delete_below(self, offset: int) -> None:
        """As retention does in its time."""
        async with started(AIOKafkaAdminClient(**client_options(self.kafka)), self.kafka) as admin:
            await admin.delete_records({self.partition: RecordsToDelete(before_offset=offset)})

    async def delete_topic(self) -> None:
        async with started(AIOKafkaAdminClient(**client_options(self.kafka)), self.kafka) as admin:
            await admin.delete_topics([self.partition.topic])

            async def gone() -> bool:
                return self.partition.topic not in await admin.list_topics()

            await eventually(gone)

    async def grow(self, partitions: int) -> None:
        async with started(AIOKafkaAdminClient(**client_options(self.kafka)), self.kafka) as admin:
            await admin.create_partitions({self.partition.topic: NewPartitions(partitions)})

    @asynccontextmanager
    async def fetching(self, **settings: Any) -> AsyncIterator[Running]:
        own = ConsumerSettings(group_id=self.group_id, sightings=SightingSettings(enabled=False), **settings)
        registry, delivery, stop = new_registry(), FakeDelivery(), asyncio.Event()
        health = Health("kafka", "output")
        health.set_ready("output")
        fake: Any = delivery
        async with self._group(auto_offset_reset="none", isolation_level="read_committed") as client:
            consumer = FrameConsumer(
                client,
                fake,
                kafka=self.kafka,
                settings=own,
                metrics=ConsumerMetrics(registry),
                health=health,
            )
            task = asyncio.create_task(consumer.run(stop))
            try:
                await eventually(lambda: task.done() or (consumer.assignment and consumer.assignment.fetchable))
                yield Running(client, consumer, delivery, registry, health)
                if consumer.assignment:
                    consumer.assignment.in_flight.drop_waiting()
                stop.set()
                await asyncio.wait_for(task, 10)
            finally:
                task.cancel()
                await asyncio.wait([task])

    def _group(self, **options: Any) -> Any:
        return started(new_consumer(self.kafka, group_id=self.group_id, **options), self.kafka)


@pytest.fixture
def site(kafka: KafkaServer) -> Site:
    return Site(kafka)


def jumps(logs: Log) -> list[tuple[int, int, int, str]]:
    found = [line for line in logs if line["event"] == "offsets_jumped"]
    return [(line["from_offset"], line["to_offset"], line["frames_lost"], line["reason"]) for line in found]


@pytest.mark.parametrize("start_at", ["earliest", "latest"])
async def test_frames_deleted_while_the_consumer_was_stopped_are_reported(site: Site, start_at: str) -> None:
    await site.publish(20)
    await site.commit(5)
    await site.delete_below(12)
    with capture_logs() as logs:
        async with site.fetching(start_at=start_at) as running:
            await eventually(lambda: running.consumer.fetched == 8)
    assert running.delivery.offsets_of(site.partition) == list(range(12, 20))
    assert jumps(logs) == [(5, 12, 7, "retention")]
    assert running.frames_lost == 7


async def test_frames_deleted_before_a_slow_consumer_fetches_them_are_reported(site: Site) -> None:
    await site.publish(5)
    with capture_logs() as logs:
        async with site.fetching(in_flight_max=1) as running:
            assignment = await running.consumer.current_assignment()
            await eventually(lambda: assignment.paused and running.consumer.fetched == 5)
            await running.client.end_offsets([site.partition])  # comes behind the last fetch: none is on its way now
            await site.publish(10)
            await site.delete_below(11)
            assignment.in_flight.drop_waiting()
            await eventually(lambda: running.consumer.fetched == 5 + 4)
    assert running.delivery.offsets_of(site.partition) == [*range(5), *range(11, 15)]
    assert jumps(logs) == [(5, 11, 6, "retention")]
    assert running.frames_lost == 6


async def test_a_committed_offset_behind_the_end_continues_at_the_first_frame(site: Site) -> None:
    await site.publish(3)
    await site.commit(1_000)
    with capture_logs() as logs:
        async with site.fetching(start_at="latest") as running:
            await eventually(lambda: running.consumer.fetched == 3)
    assert jumps(logs) == [(1_000, 0, 0, "partition_truncated")]


async def test_a_group_without_offsets_starts_at_the_latest_frame_and_says_so_to_kafka_at_once(site: Site) -> None:
    await site.publish(3)
    with capture_logs() as logs:
        async with site.fetching(start_at="latest") as running:
            assert await site.committed() == 3
        await site.publish(2)
        async with site.fetching(start_at="latest") as running:
            await eventually(lambda: running.consumer.fetched == 2)
    assert running.delivery.offsets_of(site.partition) == [3, 4]
    assert jumps(logs) == []


@pytest.mark.parametrize("frames", [2, 9])
async def test_a_topic_that_is_recreated_while_the_consumer_runs_is_read_from_its_first_frame(
    site: Site, frames: int
) -> None:
    await site.publish(5)
    async with site.fetching(start_at="latest") as running:
        running.delivery.fetched_offsets.clear()
        await site.publish(3)
        await eventually(lambda: running.consumer.fetched == 3)
        running.finish()
        await site.delete_topic()
        await site.publish(frames)  # creates it
        await eventually(lambda: running.measured_and(running.consumer.fetched >= 3 + frames))
        offsets = running.delivery.offsets_of(site.partition)
        assert set(offsets[3:]) >= set(range(frames)), "none of the new topic is skipped"
        await eventually(lambda: running.measured_and(running.health.ready))


async def test_a_topic_that_is_missing_is_not_ready_until_it_exists_again(site: Site) -> None:
    await site.publish(2)
    async with site.fetching() as running:
        await eventually(lambda: running.measured_and(running.health.ready))
        running.finish()
        await site.delete_topic()
        await eventually(lambda: running.measured_and("does not exist" in running.health.report()["kafka"]))
        await site.publish(4)
        await eventually(lambda: running.measured_and(running.health.ready and running.consumer.fetched == 6))


async def test_partitions_that_are_added_are_read_from_their_first_frame(site: Site) -> None:
    await site.publish(2)
    async with site.fetching(start_at="latest") as running:
        await site.grow(2)
        await site.publish(3, partition=1)
        running.finish()
        await eventually(lambda: running.measured_and(running.consumer.fetched == 3))
    assert running.delivery.offsets_of(TopicPartition(site.partition.topic, 1)) == [0, 1, 2]


@pytest.mark.parametrize("commit", [True, False])
async def test_the_end_of_a_transaction_is_no_frame_that_waits(site: Site, commit: bool) -> None:
    await site.publish(1)
    async with site.fetching() as running:
        await site.transact(4, commit=commit)
        await eventually(lambda: running.consumer.fetched == (5 if commit else 1))
        await eventually(lambda: running.measured_and(running.consumer.lag() == {site.partition: 0}))
        assert running.consumer.positions() == {site.partition: 6}


async def test_frames_of_an_open_transaction_wait(site: Site) -> None:
    await site.publish(1)
    producer = new_producer(site.kafka, transactional_id=f"{site.group_id}-frames")
    async with site.fetching() as running, started(producer, site.kafka):
        await producer.begin_transaction()
        await producer.send_and_wait(site.partition.topic, b"jpeg", partition=0)
        await eventually(lambda: running.measured_and(running.consumer.lag() == {site.partition: 1}))
        await producer.commit_transaction()
        await eventually(lambda: running.measured_and(running.consumer.lag() == {site.partition: 0}))
