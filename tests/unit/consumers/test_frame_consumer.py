"""Assignments are opened, drained and revoked in any order; frames that Kafka has deleted are reported, not hidden."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaTimeoutError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumers import frame_consumer
from consumers.assignment import State
from consumers.frame_consumer import FrameConsumer
from consumers.in_flight import InFlight
from consumers.metrics import ConsumerMetrics
from consumers.pulse import Pulse
from framematch.core.health import Health, new_registry
from framematch.core.settings import ConsumerSettings, KafkaSettings, SightingSettings
from tests.support import eventually
from tests.unit.consumers.fake_delivery import FakeDelivery
from tests.unit.consumers.fake_group import Member, Topic
from tests.unit.consumers.sample_frames import record


class Group(Member):
    """A member whose commits of offsets are not checked against what was published."""

    expelled = False
    """Whether the group has given the partitions to others."""
    poll_ms = 0
    """The timeout of the last fetch."""

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        self.poll_ms = timeout_ms
        return await super().getmany(timeout_ms=timeout_ms)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.expelled:
            raise CommitFailedError
        self._topic.offsets |= offsets
        self._topic.commit_ids |= dict.fromkeys(offsets, self.topic_ids["framematch.frames"])


class Running:
    """A consumer that fetches, with its fake surroundings."""

    def __init__(self, topic: Topic, delivery: FakeDelivery | None = None, *, mode: Any, **settings: Any) -> None:
        self.member = Group(topic)
        self.delivery = delivery or FakeDelivery()
        self.registry: CollectorRegistry = new_registry()
        self.health = Health("kafka", "output")
        self.health.set_ready("output")
        fakes: dict[str, Any] = {"consumer": self.member, "delivery": self.delivery}
        self.consumer = FrameConsumer(
            **fakes,
            kafka=KafkaSettings(),
            settings=ConsumerSettings(delivery=mode, sightings=SightingSettings(enabled=False), **settings),
            metrics=ConsumerMetrics(self.registry),
            health=self.health,
        )

    def finish(self) -> None:
        """The stages finish every frame that was fetched."""
        while frame := self.in_flight.pop_next():
            self.in_flight.remove(frame)

    @property
    def in_flight(self) -> InFlight:
        assert self.consumer.assignment
        return self.consumer.assignment.in_flight

    @property
    def frames_lost(self) -> float | None:
        return self.registry.get_sample_value("framematch_consumer_frames_lost_total", {"reason": "retention"})


@asynccontextmanager
async def fetching(
    topic: Topic, delivery: FakeDelivery | None = None, *, mode: str = "at_least_once", **settings: Any
) -> AsyncIterator[Running]:
    """A consumer that runs and has no partitions yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_consumer, "_BACKOFF_S", (0.0, 0.0))
        running = Running(topic, delivery, mode=mode, **settings)
        task = asyncio.create_task(running.consumer.run(asyncio.Event()))
        try:
            await eventually(lambda: running.member.listener)
            yield running
            assert not task.done()
        finally:
            if task.done():
                task.result()
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


async def test_partitions_are_opened_soon_as_a_fetch_without_any_is_short(topic: Topic) -> None:
    async with fetching(topic) as running:
        await eventually(lambda: running.member.poll_ms)
        without_ms = running.member.poll_ms
        await running.member.join(topic.partitions)
        await eventually(lambda: running.member.poll_ms > without_ms)


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
    running = Running(topic, mode="at_least_once")
    task = asyncio.create_task(running.consumer.run(stop))
    await eventually(lambda: running.member.listener)
    await running.member.join(topic.partitions)
    await eventually(lambda: running.consumer.fetched == 40)
    assignment = await running.consumer.current_assignment()
    frames = await assignment.next_frames()
    assert frames
    waiting = [asyncio.ensure_future(wait) for wait in (assignment.next_batch(), assignment.ready_frames())]
    stop.set()
    await eventually(lambda: len(assignment.in_flight) == len(frames))  # it stops, and waits for those in work
    assert not task.done()
    with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
        patch.setattr(frame_consumer, "_DRAIN_S", 0.0)
        await running.member.leave()
    await asyncio.wait_for(task, 5)
    assert [line["event"] for line in logs] == ["partitions_revoked", "drain_incomplete"]
    assert [await asyncio.wait_for(wait, 5) for wait in waiting] == [[], []]
    assert await asyncio.wait_for(assignment.next_frames(), 5) == []


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


def jumps_of(logs: Any) -> list[tuple[int | None, int, str]]:
    found = [line for line in logs if line["event"] == "offsets_jumped"]
    return [(line["from_offset"], line["to_offset"], line["reason"]) for line in found]


@pytest.mark.parametrize("frames", [0, 1, 22])
async def test_a_topic_that_is_recreated_is_read_from_its_first_frame(topic: Topic, frames: int) -> None:
    first = topic.partitions[0]
    with capture_logs() as logs:
        async with fetching(topic, start_at="latest") as running:
            topic.offsets |= dict.fromkeys(topic.partitions, 0)
            await running.member.join([first])
            before = len(topic.records[first])
            await eventually(lambda: running.consumer.fetched == before)
            topic.recreate(first, frames)
            await running.consumer.refresh_lag()
            running.finish()
            await eventually(lambda: jumps_of(logs) and running.consumer.fetched == before + frames)
    assert running.delivery.offsets_of(first) == [*range(before), *range(frames)]
    assert jumps_of(logs) == [(0, 0, "topic_recreated")]
    assert not running.frames_lost


@pytest.mark.parametrize("frames", [0, 22, 23, 24, 200])
@pytest.mark.parametrize("frozen_s", [3.0, 30.0])
async def test_a_topic_that_is_recreated_while_the_process_is_frozen_is_read_from_its_first_frame(
    topic: Topic, frozen_s: float, frames: int
) -> None:
    first, now_s = topic.partitions[0], [0.0]
    with capture_logs() as logs:
        async with fetching(topic, start_at="latest") as running:
            running.consumer.pulse = Pulse(1.0, clock=lambda: now_s[0])
            topic.offsets |= dict.fromkeys(topic.partitions, 0)
            await running.member.join([first])
            before = len(topic.records[first])
            await eventually(lambda: running.consumer.fetched == before)
            now_s[0] += frozen_s
            topic.recreate(first, frames)
            running.finish()
            await eventually(lambda: jumps_of(logs) and running.consumer.fetched == before + frames)
    assert running.delivery.offsets_of(first) == [*range(before), *range(frames)]
    assert [reason for _, _, reason in jumps_of(logs)] == ["topic_recreated"]


async def test_a_recreated_topic_is_opened_again_once_whoever_owned_its_partitions_before(topic: Topic) -> None:
    first, other = topic.partitions
    with capture_logs() as logs:
        async with fetching(topic) as running:
            await running.member.join([first, other])
            await eventually(lambda: running.consumer.fetched == 40)
            running.finish()
            await running.member.leave()
            topic.offsets |= {first: len(topic.records[first]), other: len(topic.records[other])}
            await running.member.join([first])
            await eventually(lambda: running.consumer.positions() is not None)
            topic.recreate(first, 5)
            await running.consumer.refresh_lag()
            await eventually(lambda: running.consumer.fetched == 45)
            running.finish()
            for _ in range(200):
                await asyncio.sleep(0)
    assert [line["event"] for line in logs].count("partitions_reopened") == 1


async def test_an_offset_that_was_committed_for_an_earlier_topic_is_not_used(topic: Topic) -> None:
    first = topic.partitions[0]
    topic.offsets[first], topic.commit_ids[first] = 20, b"an earlier one"
    with capture_logs() as logs:
        async with fetching(topic, start_at="latest") as running:
            await running.member.join([first])
            await eventually(lambda: running.consumer.fetched == len(topic.records[first]))
    assert jumps_of(logs) == [(20, 0, "topic_recreated")]
    assert topic.commit_ids[first] == topic.id


async def test_brokers_without_ids_show_a_recreated_topic_by_its_end(topic: Topic) -> None:
    topic.id, first = None, topic.partitions[0]
    with capture_logs() as logs:
        async with fetching(topic) as running:
            await running.member.join([first])
            before = len(topic.records[first])
            await eventually(lambda: running.consumer.fetched == before)
            topic.recreate(first, 3)
            await eventually(lambda: running.consumer.fetched == before + 3)
    assert jumps_of(logs) == [(before, 0, "partition_truncated")]


async def test_a_partition_that_is_added_to_the_topic_is_read_from_its_first_frame(topic: Topic) -> None:
    first, added = topic.partitions
    topic.offsets[first] = 3
    async with fetching(topic, start_at="latest") as running:
        await running.member.join([first])
        await eventually(lambda: running.consumer.fetched)
        await running.member.leave()
        await running.member.join([first, added])
        await eventually(lambda: running.consumer.fetched >= 40 - 3)
    assert running.delivery.offsets_of(added) == list(range(len(topic.records[added])))


async def test_after_a_pause_of_a_session_nothing_is_published_before_the_group_was_asked(topic: Topic) -> None:
    now_s = [0.0]
    with capture_logs() as logs:
        async with fetching(topic) as running:
            running.consumer.pulse = Pulse(1.0, clock=lambda: now_s[0])
            await running.member.join(topic.partitions)
            await eventually(lambda: running.consumer.fetched == 40)
            assignment = await running.consumer.current_assignment()
            assert running.consumer.may_publish()
            now_s[0] += 12.0
            assert not running.consumer.may_publish()
            await eventually(lambda: running.consumer.fetched == 80)  # from the committed offsets again
            assert running.consumer.may_publish()
            assert assignment.state is State.REVOKED
    assert "partitions_reopened" in [line["event"] for line in logs]


async def test_a_missing_topic_of_frames_is_not_ready_and_one_that_comes_is(topic: Topic) -> None:
    with capture_logs() as logs:
        async with fetching(topic) as running:
            names = topic.names = {"framematch.matches", "framematch.sightings", "framematch.deadletter"}
            await running.member.join([])
            await eventually(lambda: running.consumer.positions() is not None)
            await running.consumer.refresh_lag()
            assert "framematch.frames does not exist" in running.health.report()["kafka"]
            names.add("framematch.frames")
            await running.consumer.refresh_lag()
            assert running.health.ready
    assert [line["event"] for line in logs if "topic" in line["event"]] == ["topic_missing", "topic_found"]


@pytest.mark.parametrize("missing", ["matches", "sightings", "deadletter"])
async def test_a_missing_topic_of_output_is_not_ready(topic: Topic, missing: str) -> None:
    with capture_logs():
        async with fetching(topic) as running:
            topic.names = {
                f"framematch.{name}" for name in {"frames", "matches", "sightings", "deadletter"} - {missing}
            }
            await running.member.join(topic.partitions)
            await running.consumer.refresh_lag()
            assert running.health.report()["output"] == (
                f"the topic framematch.{missing} does not exist, or we may not see it"
            )


async def test_offsets_without_a_record_are_no_lag(topic: Topic) -> None:
    first = topic.partitions[0]
    async with fetching(topic) as running:
        await running.member.join([first])
        await eventually(lambda: running.consumer.fetched == len(topic.records[first]))
        topic.markers[first] += 1  # the end of a transaction
        await running.consumer.refresh_lag()
        await eventually(lambda: running.consumer.lag() == {first: 0})


async def test_a_partition_that_its_broker_cannot_read_is_not_ready_and_the_others_go_on(topic: Topic) -> None:
    async with fetching(topic) as running:
        await running.member.join(topic.partitions)
        topic.fetch_errors = {topic.partitions[1]: "CorruptRecordException"}
        await running.consumer.refresh_lag()
        assert "cannot read partition 1 (CorruptRecordException)" in running.health.report()["kafka"]
        await eventually(lambda: running.consumer.fetched == 40)
        topic.fetch_errors = {}
        await running.consumer.refresh_lag()
        assert running.health.ready


async def test_after_a_pause_nothing_is_read_while_others_own_the_partitions(topic: Topic) -> None:
    now_s = [0.0]
    with capture_logs() as logs:
        async with fetching(topic) as running:
            running.consumer.pulse = Pulse(1.0, clock=lambda: now_s[0])
            await running.member.join(topic.partitions)
            await eventually(lambda: running.consumer.fetched == 40)
            running.member.expelled = True
            now_s[0] += 12.0
            await eventually(lambda: [line for line in logs if line["event"] == "partitions_not_opened"])
            assert running.consumer.fetched == 40
            running.member.expelled = False
            await running.member.leave()
            await running.member.join(topic.partitions[:1])
            await eventually(lambda: running.consumer.fetched > 40)


async def test_with_transactions_a_pause_needs_no_care(topic: Topic) -> None:
    now_s = [0.0]
    async with fetching(topic, mode="exactly_once") as running:
        running.consumer.pulse = Pulse(1.0, clock=lambda: now_s[0])
        await running.member.join(topic.partitions)
        await eventually(lambda: running.consumer.fetched == 40)
        assignment = await running.consumer.current_assignment()
        now_s[0] += 12.0
        assert running.consumer.may_publish()
        await running.consumer.refresh_lag()
        assert assignment.state is State.OPEN
