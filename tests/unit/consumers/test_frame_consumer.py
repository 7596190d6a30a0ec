"""Assignments are opened, drained and revoked in any order; frames that Kafka has deleted are reported, not hidden."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumers import frame_consumer
from consumers.frame_consumer import FrameConsumer
from consumers.in_flight import InFlight
from consumers.metrics import ConsumerMetrics
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import Health, new_registry
from framematch.core.settings import ConsumerSettings, KafkaSettings, SightingSettings
from tests.support import eventually
from tests.unit.consumers.fake_delivery import FakeDelivery
from tests.unit.consumers.fake_group import Member, Topic
from tests.unit.consumers.sample_frames import record


class Group(Member):
    """A member whose commits of offsets are not checked against what was published."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._topic.offsets |= offsets


class Running:
    """A consumer that fetches, with its fake surroundings."""

    def __init__(self, topic: Topic, delivery: FakeDelivery | None = None, **settings: Any) -> None:
        self.member = Group(topic)
        self.delivery = delivery or FakeDelivery()
        self.registry: CollectorRegistry = new_registry()
        fakes: dict[str, Any] = {"consumer": self.member, "delivery": self.delivery}
        self.consumer = FrameConsumer(
            **fakes,
            kafka=KafkaSettings(),
            settings=ConsumerSettings(sightings=SightingSettings(enabled=False), **settings),
            metrics=ConsumerMetrics(self.registry),
            health=Health("kafka"),
        )

    @property
    def in_flight(self) -> InFlight:
        assert self.consumer.assignment
        return self.consumer.assignment.in_flight

    @property
    def frames_lost(self) -> float | None:
        return self.registry.get_sample_value("framematch_consumer_frames_lost_total", {"reason": "retention"})


@asynccontextmanager
async def fetching(topic: Topic, delivery: FakeDelivery | None = None, **settings: Any) -> AsyncIterator[Running]:
    """A consumer that runs and has no partitions yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_consumer, "_BACKOFF_S", (0.0, 0.0))
        running = Running(topic, delivery, **settings)
        task = asyncio.create_task(running.consumer.run(asyncio.Event()))
        try:
            await eventually(lambda: running.member.listener)
            yield running
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
def topic() -> Topic:
    return Topic(random.Random(1), partitions=2, frames=40, failures=0)  # noqa: S311  # chooses what happens


async def test_every_frame_of_its_partitions_is_fetched_once_in_order(topic: Topic) -> None:
    async with fetching(topic) as running:
        await running.member.join(topic.partitions)
        await eventually(lambda: running.consumer.fetched == 40)
    for place in topic.partitions:
        assert running.delivery.offsets_of(place) == list(range(len(topic.records[place])))


async def test_a_rebalance_that_starts_while_partitions_are_opened_leaves_them_closed(topic: Topic) -> None:
    delivery = FakeDelivery()
    async with fetching(topic, delivery) as running:
        delivery.may_open.clear()
        await running.member.join(topic.partitions)
        await eventually(lambda: delivery.opening == 1)
        delivery.may_commit.clear()
        leaving = asyncio.create_task(running.member.leave())
        await eventually(lambda: delivery.committing == 1)  # it drains: the assignment is still the current one
        delivery.may_open.set()
        await eventually(lambda: delivery.revoked)
        delivery.may_commit.set()
        await asyncio.wait_for(leaving, 5)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (delivery.fetched_offsets, running.consumer.assignment) == ([], None)
        assert running.consumer.positions() is None
        await running.member.join(topic.partitions[:1])
        await eventually(lambda: running.consumer.fetched == len(topic.records[topic.partitions[0]]))


async def test_partitions_that_cannot_be_opened_are_retried_and_lose_nothing(topic: Topic) -> None:
    delivery = FakeDelivery()
    delivery.failures = 3
    with capture_logs():
        async with fetching(topic, delivery) as running:
            await running.member.join(topic.partitions)
            await eventually(lambda: running.consumer.fetched == 40)
    assert delivery.opening == 4
    assert len(set(delivery.fetched_offsets)) == 40


async def test_a_partition_with_its_share_in_flight_leaves_capacity_for_the_others(topic: Topic) -> None:
    async with fetching(topic, in_flight_max=10) as running:
        await running.member.join(topic.partitions)
        await eventually(lambda: running.in_flight.full(topic.partitions) == set(topic.partitions))
        # Its share is five; a fetch of up to three may go beyond it.
        assert max(len(running.delivery.offsets_of(place)) for place in topic.partitions) <= 7
        before = running.consumer.fetched
        while frame := running.in_flight.pop_next():
            running.in_flight.remove(frame)
        await eventually(lambda: running.consumer.fetched > before)


async def test_after_a_revoke_nothing_waits_for_the_frames_of_the_assignment(topic: Topic) -> None:
    stop = asyncio.Event()
    running = Running(topic)
    task = asyncio.create_task(running.consumer.run(stop))
    await eventually(lambda: running.member.listener)
    await running.member.join(topic.partitions)
    await eventually(lambda: running.consumer.fetched == 40)
    assignment = await running.consumer.current_assignment()
    frame = await assignment.next_frame()
    assert frame
    waiting = [asyncio.ensure_future(wait) for wait in (assignment.next_batch(), assignment.ready_frames())]
    stop.set()
    await eventually(lambda: len(assignment.in_flight) == 1)  # it stops, and waits for the frame in work
    assert not task.done()
    with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
        patch.setattr(frame_consumer, "_DRAIN_S", 0.0)
        await running.member.leave()
    await asyncio.wait_for(task, 5)
    assert [line["event"] for line in logs] == ["partitions_revoked", "drain_incomplete"]
    assert [await asyncio.wait_for(wait, 5) for wait in waiting] == [[], []]
    assert await asyncio.wait_for(assignment.next_frame(), 5) is None


async def test_frames_that_retention_deleted_while_the_consumer_was_stopped_are_counted(topic: Topic) -> None:
    first, other = topic.partitions
    topic.offsets |= {first: 3, other: 2}
    topic.starts[first] = 10
    with capture_logs() as logs:
        async with fetching(topic, start_at="latest") as running:  # which is for a group without offsets alone
            await running.member.join(topic.partitions)
            await eventually(lambda: running.consumer.fetched == 40 - 10 - 2)
    assert running.delivery.offsets_of(first) == list(range(10, len(topic.records[first])))
    assert running.delivery.offsets_of(other) == list(range(2, len(topic.records[other])))
    [jump] = [line for line in logs if line["event"] == "offsets_jumped"]
    assert (jump["partition"], jump["from_offset"], jump["to_offset"]) == (first.partition, 3, 10)
    assert (jump["frames_lost"], jump["reason"], jump["log_level"]) == (7, "retention", "warning")
    assert running.frames_lost == 7


async def test_frames_that_retention_deletes_before_a_slow_consumer_fetches_them_are_counted(topic: Topic) -> None:
    first = topic.partitions[0]
    with capture_logs() as logs:
        async with fetching(topic, in_flight_max=2) as running:
            await running.member.join([first])
            await eventually(lambda: running.in_flight.full([first]))
            fetched = running.consumer.fetched
            topic.starts[first] = fetched + 5
            running.in_flight.drop_waiting()
            await eventually(lambda: running.consumer.fetched > fetched)
    offsets = running.delivery.offsets_of(first)
    assert offsets[fetched - 1 : fetched + 1] == [fetched - 1, fetched + 5]
    assert [line["frames_lost"] for line in logs if line["event"] == "offsets_jumped"] == [5]
    assert running.frames_lost == 5


async def test_deleted_frames_are_skipped_once_kafka_answers_where_the_partition_starts(topic: Topic) -> None:
    first = topic.partitions[0]
    async with fetching(topic) as running:
        await running.member.join([first])
        await eventually(lambda: running.consumer.fetched == len(topic.records[first]))
        end = len(topic.records[first])
        topic.records[first] += [record(end + number) for number in range(5)]
        topic.starts[first] = end + 3
        asked = 0

        async def no_answer(_partitions: object) -> dict[TopicPartition, int]:
            nonlocal asked
            asked += 1
            raise KafkaTimeoutError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running.member, "beginning_offsets", no_answer)
            await eventually(lambda: asked > 3)
        await eventually(lambda: running.frames_lost == 3)
        await eventually(lambda: running.consumer.fetched == end + 2)


async def test_a_committed_offset_behind_the_end_continues_at_the_first_frame(topic: Topic) -> None:
    first = topic.partitions[0]
    topic.offsets[first] = 1_000
    with capture_logs() as logs:
        async with fetching(topic, start_at="latest") as running:
            await running.member.join([first])
            await eventually(lambda: running.consumer.fetched == len(topic.records[first]))
    [jump] = [line for line in logs if line["event"] == "offsets_jumped"]
    assert (jump["from_offset"], jump["to_offset"], jump["reason"]) == (1_000, 0, "partition_truncated")
    assert not running.frames_lost


async def test_a_group_that_starts_at_the_latest_frame_does_so_once(topic: Topic) -> None:
    first = topic.partitions[0]
    async with fetching(topic, start_at="latest") as running:
        await running.member.join([first])
        end = len(topic.records[first])
        await eventually(lambda: topic.offsets == {first: end})
        assert running.consumer.fetched == 0
        await running.member.leave()
        topic.records[first] += [record(end + number) for number in range(3)]  # frames that come during the rebalance
        await running.member.join([first])
        await eventually(lambda: running.consumer.fetched == 3)


async def test_a_topic_that_was_recreated_ends_a_running_consumer_with_a_reason(topic: Topic) -> None:
    running = Running(topic)
    task = asyncio.create_task(running.consumer.run(asyncio.Event()))
    await eventually(lambda: running.member.listener)
    await running.member.join(topic.partitions)
    await eventually(lambda: running.consumer.fetched == 40)
    del topic.records[topic.partitions[0]][1:]
    with pytest.raises(KafkaUnavailableError, match=r"ends at offset 1, before offset \d+ that comes next: the topic"):
        await task


async def test_an_unreadable_header_name_ends_the_consumer_with_a_hint(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(topic)

    async def unreadable(*, timeout_ms: int) -> None:
        del timeout_ms
        b"\xff".decode()

    monkeypatch.setattr(running.member, "getmany", unreadable)
    with pytest.raises(KafkaUnavailableError, match="not UTF-8") as raised:
        await running.consumer.run(asyncio.Event())
    assert "--reset-offsets" in raised.value.hint
