"""Exactly once: whatever fails, and whoever else takes the partition, each answer is committed once, in order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.delivery import transactions
from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.exactly_once import ExactlyOnce
from consumers.delivery.outputs import Output
from consumers.delivery.transactions import PartitionTransactions
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import Health
from framematch.core.metrics import new_registry
from framematch.core.settings import ConsumerSettings, KafkaSettings
from tests.support import eventually
from tests.unit.consumers.fake_kafka import FakeBroker, Step, failing_at
from tests.unit.consumers.sample_frames import fetched

FRAMES = 6
PARTITION = fetched(0).partition
STEPS = ("begin", "send", "acknowledge", "offsets", "commit", "committed")


class NamedOutputs:
    """Two records for each frame, which tell its offset."""

    def of(self, answer: FrameResult) -> list[Output]:
        """None for what has no frame."""
        return [Output("matches", answer.key, value, []) for value in records_of(answer.offset)]


def records_of(offset: int | None) -> list[bytes]:
    return [] if offset is None else [f"{offset} a".encode(), f"{offset} b".encode()]


ALL = [record for offset in range(FRAMES) for record in records_of(offset)]


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "_BACKOFF_S", (0.0, 0.0))
        patch.setattr(transactions, "_MOST_FRAMES", 2)  # so that others wait behind each transaction
        yield


def context(broker: FakeBroker, delivered: list[int | None]) -> DeliveryContext:
    stand_ins: Any = {"consumer": broker, "outputs": NamedOutputs()}
    return DeliveryContext(
        **stand_ins,
        on_delivered=lambda answer: delivered.append(answer.offset),
        kafka=KafkaSettings(),
        # No pause after a fence, nor between transactions: less than what the settings allow.
        settings=ConsumerSettings(transaction_interval_ms=0).model_copy(update={"session_timeout_ms": 0}),
        metrics=ConsumerMetrics(new_registry()),
        health=Health("output"),
    )


@asynccontextmanager
async def delivering(broker: FakeBroker, delivered: list[int | None]) -> AsyncIterator[PartitionTransactions]:
    """The transactions of one partition, claimed and running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        own = PartitionTransactions(PARTITION, context(broker, delivered))
        await own.claim()
        task = asyncio.create_task(own.run())
        try:
            yield own
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])
    assert broker.running == []


async def deliver_all(broker: FakeBroker) -> list[int | None]:
    """Put all frames, in parts; the offsets of which it is said that they were delivered."""
    delivered: list[int | None] = []
    async with delivering(broker, delivered) as own:
        for offset in range(FRAMES):
            own.put(FrameResult.of(fetched(offset)))
            if offset % 2:
                await asyncio.sleep(0)
        await eventually(lambda: len(delivered) >= FRAMES, timeout_s=5, message=f"all frames, not {delivered}")
    return delivered


@pytest.mark.parametrize("first", STEPS)
@pytest.mark.parametrize("second", [None, *STEPS])
async def test_a_failure_at_any_step_leaves_nothing_out_and_repeats_nothing(first: Step, second: Step | None) -> None:
    broker = FakeBroker(failing_at(first, *[second] if second else []))
    assert await deliver_all(broker) == list(range(FRAMES))
    assert (broker.output, broker.offset) == (ALL, FRAMES)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["go on", "go on", "fail", "rival 0", "rival 1", "rival 3"]), max_size=25))
async def test_rivals_and_failures_at_any_step_leave_nothing_out_and_repeat_nothing(script: list[str]) -> None:
    events = iter(script)

    def fate(_step: Step) -> bool:
        event = next(events, "go on")
        if event.startswith("rival"):
            broker.take_over()
            rival(int(event.split()[1]))
        return event == "fail"

    def rival(frames: int) -> None:
        """Another owner goes on from the committed offset."""
        begin = broker.offset or 0
        broker.offset = min(FRAMES, begin + frames)
        broker.output += [record for offset in range(begin, broker.offset) for record in records_of(offset)]

    broker = FakeBroker()
    delivered: list[int | None] = []
    async with delivering(broker, delivered) as own:
        broker.fate = fate
        for offset in range(FRAMES):
            own.put(FrameResult.of(fetched(offset)))
        await eventually(lambda: len(delivered) >= FRAMES, timeout_s=5, message=f"all frames, not {delivered}")
        assert delivered == list(range(FRAMES))
        assert (broker.output, broker.offset) == (ALL, FRAMES)


async def test_an_answer_without_a_frame_goes_with_those_before_it_and_moves_no_offset() -> None:
    broker = FakeBroker(failing_at("commit"))
    delivered: list[int | None] = []
    async with delivering(broker, delivered) as own:
        own.put(FrameResult.of(fetched(0)))
        own.put(FrameResult(PARTITION, b"till-1", None))
        await eventually(lambda: len(delivered) == 2)
    assert (delivered, broker.offset) == ([0, None], 1)


async def test_it_is_fenced_until_it_has_the_partition_again() -> None:
    broker = FakeBroker()
    async with delivering(broker, []) as own:
        broker.take_over()
        own.put(FrameResult.of(fetched(0)))
        await asyncio.wait_for(own.fenced.wait(), 5)
        await eventually(lambda: not own.fenced.is_set())
        await eventually(lambda: broker.offset == 1)


@asynccontextmanager
async def exactly_once(broker: FakeBroker) -> AsyncIterator[ExactlyOnce]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        delivery = ExactlyOnce(context(broker, []))
        running = asyncio.create_task(delivery.run())
        try:
            yield delivery
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_opening_again_leaves_no_producer_of_before() -> None:
    broker = FakeBroker()
    async with exactly_once(broker) as delivery:
        for _ in range(3):
            await delivery.on_assigned([PARTITION])
        assert len(broker.running) == 1
        await delivery.on_revoked()
        assert broker.running == []


@pytest.mark.parametrize("fails_at", [1, 2, 3])
async def test_when_one_partition_cannot_be_claimed_none_is(fails_at: int) -> None:
    starts = iter(range(1, 9))
    broker = FakeBroker(lambda step: step == "start" and next(starts) == fails_at)
    partitions = [fetched(0, partition=number).partition for number in range(3)]
    async with exactly_once(broker) as delivery:
        with pytest.raises(KafkaUnavailableError):
            await delivery.on_assigned(partitions)
        assert broker.running == []
        await delivery.on_assigned(partitions)
        assert len(broker.running) == 3


async def test_answers_of_a_partition_that_is_not_open_are_left_to_its_owner() -> None:
    broker = FakeBroker()
    async with exactly_once(broker) as delivery:
        await delivery.on_assigned([PARTITION])
        await delivery.deliver([FrameResult.of(fetched(0, partition=5)), FrameResult.of(fetched(0))])
        await eventually(lambda: broker.offset == 1)
    assert broker.output == records_of(0)
