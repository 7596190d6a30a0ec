"""The whole pipeline with failures, rebalances and crashes: no frame is lost, none is committed early."""

import asyncio
import random
import weakref
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consumers import frame_consumer, pipeline
from consumers.delivery import at_least_once, transactions
from consumers.delivery.at_least_once import AtLeastOnce
from consumers.pulse import Pulse
from consumers.sightings.sightings import Sightings
from consumers.stages.results import FrameResult
from framematch.core.settings import ConsumerSettings, SightingSettings
from tests.support import eventually
from tests.unit.consumers.fake_group import Group, Member, Place, Topic
from tests.unit.consumers.sample_frames import make_served

Delivery = Literal["at_least_once", "exactly_once"]
BOTH = pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])


@asynccontextmanager
async def group(topic: Topic, delivery: Delivery, *, drain_s: float = 5.0) -> AsyncIterator[Group]:
    """A group with one consumer, without delays."""
    own = ConsumerSettings(
        delivery=delivery,
        batch_size=4,
        batch_window_ms=0,
        in_flight_max=12,
        commit_interval_s=0.001,
        transaction_interval_ms=0,
        sightings=SightingSettings(enabled=False),
    ).model_copy(update={"session_timeout_ms": 1})
    with pytest.MonkeyPatch.context() as patch, capture_logs():
        patch.setattr(frame_consumer, "_DRAIN_S", drain_s)
        patch.setattr(frame_consumer, "Pulse", lambda _limit_s: Pulse(60.0))  # longer than the session above
        for module in (at_least_once, transactions):
            patch.setattr(module, "_BACKOFF_S", (0.0, 0.0))
            patch.setattr(module, "new_producer", topic.new_producer)
        patch.setattr(frame_consumer, "_BACKOFF_S", (0.0, 0.0))
        consumers = Group(topic, own)
        try:
            await consumers.start()
            yield consumers
        finally:
            await consumers.close()


async def all_committed(topic: Topic, consumers: Group) -> None:
    def ended() -> bool:
        for consumer in consumers.consumers:
            if consumer.task.done():
                consumer.task.result()
        return topic.finished

    await eventually(ended, timeout_s=10, message=f"all committed of {topic.records}")


def in_order(topic: Topic, delivery: Delivery, published: Sequence[Place]) -> None:
    """The first events of frames with one ordering key, a camera or a partition, are in order."""
    firsts = dict.fromkeys(published)
    by_key: dict[object, list[int]] = {}
    for partition, offset in firsts:
        frame = topic.records[topic.partitions[partition]][offset]
        by_key.setdefault(frame.key if delivery == "at_least_once" else partition, []).append(offset)
    assert all(offsets == sorted(offsets) for offsets in by_key.values())


@BOTH
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    script=st.lists(st.sampled_from(["rebalance", "join", "crash", "go on"]), max_size=6),
    failures=st.sampled_from([0.0, 0.0, 0.02]),
    drain_s=st.sampled_from([0.0, 5.0]),
)
async def test_every_frame_is_answered_in_order_and_none_is_committed_early(
    delivery: Delivery, seed: int, script: list[str], failures: float, drain_s: float
) -> None:
    chance = random.Random(seed)  # noqa: S311  # chooses what happens, hides nothing
    topic = Topic(chance, partitions=3, frames=60, failures=failures)
    async with group(topic, delivery, drain_s=drain_s) as consumers:
        for step in script:
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            if step == "join" or (step == "crash" and len(consumers.consumers) == 1):
                await consumers.start()
            elif step != "go on":
                await getattr(consumers, step)()
        await all_committed(topic, consumers)
        await consumers.finish()
    everything = {(place.partition, one.offset) for place, records in topic.records.items() for one in records}
    assert set(topic.published) == everything
    in_order(topic, delivery, topic.published)
    if delivery == "exactly_once" or not (failures or {"rebalance", "join", "crash"} & set(script)):
        assert len(topic.published) == len(everything)


@BOTH
@pytest.mark.parametrize("seed", range(5))
async def test_a_consumer_that_is_idle_keeps_no_snapshot_that_is_not_served(delivery: Delivery, seed: int) -> None:
    topic = Topic(random.Random(seed), partitions=2, frames=12, failures=0)  # noqa: S311  # chooses what happens
    topic.served = make_served(snapshot="old")
    async with group(topic, delivery) as consumers:
        await all_committed(topic, consumers)
        old = weakref.ref(topic.served)
        topic.served = make_served(snapshot="new")
        await eventually(lambda: old() is None, message="nothing refers to the old snapshot")
        await consumers.finish()


async def test_refused_output_does_not_hold_up_the_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(random.Random(1), partitions=1, frames=0, failures=0)  # noqa: S311  # chooses what happens
    [partition] = topic.partitions
    refused, reachable = asyncio.Event(), asyncio.Event()
    reachable.set()

    async def refuse(_self: object, _results: object) -> None:
        refused.set()
        await asyncio.Event().wait()

    async def end_offsets(_self: object, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        if not reachable.is_set():
            raise KafkaConnectionError
        return dict.fromkeys(partitions, 7 if refused.is_set() else 0)

    monkeypatch.setattr(pipeline, "_MEASURE_INTERVAL_S", 0.001)
    monkeypatch.setattr(AtLeastOnce, "deliver", refuse)
    monkeypatch.setattr(Sightings, "end_silent", lambda *_: [FrameResult(partition, b"till-1", None)])
    monkeypatch.setattr(Member, "end_offsets", end_offsets)
    async with group(topic, "at_least_once") as consumers:
        [consumer] = consumers.consumers

        def lag() -> float | None:
            return consumer.registry.get_sample_value("framematch_consumer_lag_frames", {"partition": "0"})

        await asyncio.wait_for(refused.wait(), 5)
        await eventually(lambda: lag() == 7)
        reachable.clear()
        await eventually(lambda: not consumer.health.works("kafka"))
        assert consumer.registry.get_sample_value("framematch_consumer_kafka_outages_total") == 1
        reachable.set()
        await eventually(lambda: consumer.health.works("kafka"))
