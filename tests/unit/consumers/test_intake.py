"""Partitions come and go while the intake is busy with others: none is worked on that was given back."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from consumers import intake
from consumers.in_flight import InFlight
from consumers.intake import Intake
from consumers.metrics import ConsumerMetrics
from consumers.work import Work
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import Health, new_registry
from framematch.core.settings import ConsumerSettings, KafkaSettings
from tests.support import eventually
from tests.unit.consumers.fake_group import Member, Topic


class Gate:
    """In place of a delivery: opening and committing wait until they may go on."""

    def __init__(self) -> None:
        self.may_open, self.may_commit = asyncio.Event(), asyncio.Event()
        self.may_open.set()
        self.may_commit.set()
        self.opening = self.committing = self.closed = 0
        self.failures = 0
        self.fetched_places: list[tuple[int, int]] = []

    async def on_assigned(self, _partitions: Iterable[TopicPartition]) -> None:
        self.opening += 1
        await self.may_open.wait()
        if self.failures:
            self.failures -= 1
            raise KafkaUnavailableError("not yet")

    def fetched(self, work: Work) -> None:
        self.fetched_places.append((work.partition.partition, work.record.offset))

    async def commit(self) -> None:
        self.committing += 1
        await self.may_commit.wait()

    async def wait_fenced(self) -> None:
        await asyncio.Event().wait()

    async def on_revoked(self) -> None:
        self.closed += 1


def intake_of(topic: Topic, gate: Gate, in_flight: InFlight) -> tuple[Member, Intake]:
    """An intake of a member that has no partition yet."""
    stand_ins: dict[str, Any] = {"consumer": Member(topic), "delivery": gate}

    async def assigned(_positions: object) -> None: ...

    own = Intake(
        **stand_ins,
        topic="framematch.frames",
        kafka=KafkaSettings(),
        settings=ConsumerSettings(),
        in_flight=in_flight,
        on_assigned=assigned,
        on_fetched=lambda: None,
        on_revoked=lambda: None,
        metrics=ConsumerMetrics(new_registry()),
        health=Health("kafka"),
    )
    return stand_ins["consumer"], own


@asynccontextmanager
async def fetching(topic: Topic, gate: Gate, in_flight: InFlight) -> AsyncIterator[tuple[Member, Intake]]:
    """An intake that runs."""
    with pytest.MonkeyPatch.context() as patch, capture_logs():
        patch.setattr(intake, "_BACKOFF_S", (0.0, 0.0))
        member, own = intake_of(topic, gate, in_flight)
        running = asyncio.create_task(own.run(asyncio.Event()))
        try:
            await eventually(lambda: member.listener)
            yield member, own
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait([running])


@pytest.fixture
def topic() -> Topic:
    return Topic(random.Random(1), partitions=2, frames=40, failures=0)  # noqa: S311  # chooses what happens


def room() -> InFlight:
    return InFlight(max_frames=1_000, max_bytes=1_000_000)


async def test_every_frame_of_its_partitions_is_fetched_once_in_order(topic: Topic) -> None:
    gate, in_flight = Gate(), room()
    async with fetching(topic, gate, in_flight) as (member, own):
        await member.join(topic.partitions)
        await eventually(lambda: own.fetched == 40)
    for place in topic.partitions:
        offsets = [offset for partition, offset in gate.fetched_places if partition == place.partition]
        assert offsets == list(range(len(topic.records[place])))


async def test_a_rebalance_that_begins_while_partitions_are_opened_leaves_them_closed(topic: Topic) -> None:
    gate, in_flight = Gate(), room()
    async with fetching(topic, gate, in_flight) as (member, own):
        gate.may_open.clear()
        await member.join(topic.partitions)
        await eventually(lambda: gate.opening == 1)
        gate.may_commit.clear()
        leaving = asyncio.create_task(member.leave())
        await eventually(lambda: gate.committing == 1)  # it hands over, and its epoch is still the old one
        gate.may_open.set()
        await eventually(lambda: gate.closed)
        gate.may_commit.set()
        await asyncio.wait_for(leaving, 5)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (gate.fetched_places, len(in_flight)) == ([], 0)
        assert await own.positions() is None
        await member.join(topic.partitions[:1])
        await eventually(lambda: own.fetched == len(topic.records[topic.partitions[0]]))


async def test_partitions_that_cannot_be_opened_are_tried_again_and_lose_nothing(topic: Topic) -> None:
    gate, in_flight = Gate(), room()
    gate.failures = 3
    async with fetching(topic, gate, in_flight) as (member, own):
        await member.join(topic.partitions)
        await eventually(lambda: own.fetched == 40)
    assert gate.opening == 4
    assert len(set(gate.fetched_places)) == 40


async def test_a_partition_that_has_its_share_leaves_the_others_room(topic: Topic) -> None:
    gate, in_flight = Gate(), InFlight(max_frames=10, max_bytes=1_000_000)
    async with fetching(topic, gate, in_flight) as (member, own):
        await member.join(topic.partitions)
        await eventually(lambda: in_flight.full(topic.partitions) == set(topic.partitions))
        held = [partition for partition, _ in gate.fetched_places]
        # Five is its share; a fetch of up to three may go over it.
        assert max(held.count(place.partition) for place in topic.partitions) <= 7
        before = own.fetched
        while work := in_flight.take():
            in_flight.done(work)
        await eventually(lambda: own.fetched > before)


async def test_a_topic_that_was_made_anew_ends_the_consumer_which_says_so(topic: Topic) -> None:
    member, own = intake_of(topic, Gate(), room())
    running = asyncio.create_task(own.run(asyncio.Event()))
    await eventually(lambda: member.listener)
    await member.join(topic.partitions)
    await eventually(lambda: own.fetched == 40)
    member.seek(topic.partitions[0], 0)
    with pytest.raises(KafkaUnavailableError, match="went back to offset 0: the topic was made anew"):
        await running


async def test_a_header_name_that_the_client_cannot_read_ends_the_consumer_which_says_what_to_do(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, own = intake_of(topic, Gate(), room())

    async def unreadable(*, timeout_ms: int) -> None:
        del timeout_ms
        b"\xff".decode()

    monkeypatch.setattr(member, "getmany", unreadable)
    with pytest.raises(KafkaUnavailableError, match="no UTF-8") as raised:
        await own.run(asyncio.Event())
    assert "--reset-offsets" in raised.value.hint
