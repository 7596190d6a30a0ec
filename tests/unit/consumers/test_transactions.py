"""Exactly once: whatever fails, and whoever else owns the partition, each result is committed once, in order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consumers.delivery import transactions
from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.exactly_once import ExactlyOnce
from consumers.delivery.output_partitions import OutputPartitions
from consumers.delivery.transactions import PartitionClosedError, PartitionTransactions
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult
from framematch.core.errors import KafkaUnavailableError
from framematch.core.health import Health, new_registry
from framematch.core.kafka.protocols import Producer
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics
from framematch.core.settings import ConsumerSettings, KafkaSettings
from tests.support import eventually
from tests.unit.consumers.fake_kafka import FakeBroker, Step, failing_at
from tests.unit.consumers.sample_frames import fetched

FRAMES = 6
PARTITION = fetched(0).partition
STEPS = ("begin", "send", "acknowledge", "offsets", "commit", "committed")


class OffsetEncoder:
    """Encodes a frame's offset in two records; a result without a frame has none."""

    def encode(self, result: FrameResult) -> list[ProducerRecord]:
        return [ProducerRecord("matches", result.key, value) for value in records_of(result.offset)]


def records_of(offset: int | None) -> list[bytes]:
    return [] if offset is None else [f"{offset} a".encode(), f"{offset} b".encode()]


ALL = [record for offset in range(FRAMES) for record in records_of(offset)]


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, capture_logs():
        patch.setattr(transactions, "_BACKOFF_S", (0.0, 0.0))
        patch.setattr(transactions, "_MAX_RESULTS", 2)  # so that several transactions are needed
        yield


def context(broker: FakeBroker, delivered: list[int | None], *, transaction_interval_ms: float = 0) -> DeliveryContext:
    encoder: Any = OffsetEncoder()
    return DeliveryContext(
        offset_store=broker.offset_store,
        encoder=encoder,
        partitions=OutputPartitions(Topics("framematch"), lambda: 12),
        on_delivered=lambda result: delivered.append(result.offset),
        kafka=KafkaSettings(),
        # No pause after a fence, nor between transactions: less than what the settings allow.
        settings=ConsumerSettings(transaction_interval_ms=transaction_interval_ms).model_copy(
            update={"session_timeout_ms": 0}
        ),
        metrics=ConsumerMetrics(new_registry()),
        health=Health("output"),
    )


@asynccontextmanager
async def delivering(
    broker: FakeBroker, delivered: list[int | None], *, transaction_interval_ms: float = 0
) -> AsyncIterator[PartitionTransactions]:
    """The transactions of one partition, claimed and running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        partition = PartitionTransactions(
            PARTITION, context(broker, delivered, transaction_interval_ms=transaction_interval_ms)
        )
        await partition.claim()
        task = asyncio.create_task(partition.run())
        try:
            yield partition
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])
    assert broker.running == []


async def deliver_all(broker: FakeBroker) -> list[int | None]:
    """Put all frames, two at a time; returns the offsets that were reported as delivered."""
    delivered: list[int | None] = []
    async with delivering(broker, delivered) as partition:
        for offset in range(FRAMES):
            partition.put(FrameResult.of(fetched(offset)))
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

    def fails(_step: Step) -> bool:
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
    async with delivering(broker, delivered) as partition:
        broker.fails = fails
        for offset in range(FRAMES):
            partition.put(FrameResult.of(fetched(offset)))
        await eventually(lambda: len(delivered) >= FRAMES, timeout_s=5, message=f"all frames, not {delivered}")
        assert delivered == list(range(FRAMES))
        assert (broker.output, broker.offset) == (ALL, FRAMES)


async def test_a_result_without_a_frame_goes_with_those_before_it_and_moves_no_offset() -> None:
    broker = FakeBroker(failing_at("commit"))
    delivered: list[int | None] = []
    async with delivering(broker, delivered) as partition:
        partition.put(FrameResult.of(fetched(0)))
        partition.put(FrameResult(PARTITION, b"till-1", None))
        await eventually(lambda: len(delivered) == 2)
    assert (delivered, broker.offset) == ([0, None], 1)


async def test_a_partition_that_is_to_be_given_up_commits_without_a_pause() -> None:
    delivered: list[int | None] = []
    async with delivering(FakeBroker(), delivered, transaction_interval_ms=3_600_000) as partition:
        partition.put(FrameResult.of(fetched(0)))
        partition.finish()
        await eventually(lambda: delivered == [0])
        partition.put(FrameResult.of(fetched(1)))
        await eventually(lambda: delivered == [0, 1])


@pytest.mark.parametrize(("waited_s", "expected_s"), [(0, 0.1), (0.4, 0.1), (2, 0.5), (60, 1)])
def test_the_longer_frames_have_waited_the_more_of_them_share_a_transaction(waited_s: float, expected_s: float) -> None:
    assert transactions.interval_s(0.1, waited_s) == pytest.approx(expected_s)


async def test_a_fenced_consumer_claims_the_partition_again() -> None:
    broker = FakeBroker()
    async with delivering(broker, []) as partition:
        broker.take_over()
        partition.put(FrameResult.of(fetched(0)))
        await asyncio.wait_for(partition.fenced.wait(), 5)
        await eventually(lambda: not partition.fenced.is_set())
        await eventually(lambda: broker.offset == 1)


@asynccontextmanager
async def running(delivery: ExactlyOnce) -> AsyncIterator[ExactlyOnce]:
    task = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def exactly_once(broker: FakeBroker) -> AsyncIterator[ExactlyOnce]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        async with running(ExactlyOnce(context(broker, []))) as delivery:
            yield delivery


async def test_assigning_again_stops_the_former_producer() -> None:
    broker = FakeBroker()
    async with exactly_once(broker) as delivery:
        for _ in range(3):
            await delivery.on_assigned([PARTITION])
        assert len(broker.running) == 1
        await delivery.on_revoked()
        assert broker.running == []


async def test_a_partition_that_fails_is_not_hidden_by_one_that_succeeds() -> None:
    working, failing = FakeBroker(), FakeBroker(lambda step: step == "commit")
    partitions = [fetched(0, partition=number).partition for number in range(2)]
    delivered, ready = list[int | None](), list[bool]()
    delivery_context = context(working, delivered)

    def observe(step: Step) -> bool:
        if step == "begin":
            ready.append(delivery_context.health.works("output"))
        return False

    def new_producer(_kafka: KafkaSettings, transactional_id: str) -> Producer:
        return (failing if transactional_id.endswith("-1") else working).new_producer()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", new_producer)
        async with running(ExactlyOnce(delivery_context)) as delivery:
            await delivery.on_assigned(partitions)
            await delivery.deliver([FrameResult.of(fetched(99, partition=1))])
            await eventually(lambda: not delivery_context.health.works("output"))
            working.fails = observe
            await delivery.deliver([FrameResult.of(fetched(offset)) for offset in range(FRAMES)])
            await eventually(lambda: len(delivered) == FRAMES)
            assert delivery_context.health.report() == {"output": "a transaction failed: InjectedError"}
            failing.fails = lambda _step: False
            await eventually(lambda: delivery_context.health.works("output"))
    assert ready == [False] * (FRAMES // 2)


async def test_output_whose_commit_got_no_reply_is_ready_once_it_is_known_to_be_committed() -> None:
    broker = FakeBroker(failing_at("committed"))
    delivery_context = context(broker, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        async with running(ExactlyOnce(delivery_context)) as delivery:
            await delivery.on_assigned([PARTITION])
            await delivery.deliver([FrameResult.of(fetched(0))])
            await eventually(lambda: broker.epoch == 2 and delivery_context.health.works("output"))
    assert broker.output == records_of(0)


async def test_a_revoked_partition_does_not_keep_the_output_unready() -> None:
    broker = FakeBroker(lambda step: step == "commit")
    delivery_context = context(broker, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        async with running(ExactlyOnce(delivery_context)) as delivery:
            await delivery.on_assigned([PARTITION])
            await delivery.deliver([FrameResult.of(fetched(0))])
            await eventually(lambda: not delivery_context.health.works("output"))
            await delivery.on_revoked()
            assert delivery_context.health.works("output")


async def test_a_closed_partition_is_never_claimed_again() -> None:
    broker = FakeBroker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        partition = PartitionTransactions(PARTITION, context(broker, []))
        await partition.claim()
        task = asyncio.create_task(partition.run())
        await partition.close()
        owner = broker.take_over()
        partition.put(FrameResult.of(fetched(0)))
        await asyncio.wait_for(task, 5)
        with pytest.raises(PartitionClosedError):
            await partition.claim()
    assert (broker.epoch, broker.running, broker.output) == (owner, [], [])


async def test_a_partition_closed_during_a_transaction_is_not_claimed_again() -> None:
    broker, in_commit = FakeBroker(), asyncio.Event()

    def fails(step: Step) -> bool:
        if step == "commit":
            in_commit.set()
        return step == "commit"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "new_producer", broker.new_producer)
        partition = PartitionTransactions(PARTITION, context(broker, []))
        await partition.claim()
        broker.fails = fails
        partition.put(FrameResult.of(fetched(0)))
        task = asyncio.create_task(partition.run())
        await in_commit.wait()
        await partition.close()
        owner = broker.take_over()
        await asyncio.wait_for(task, 5)
    assert (broker.epoch, broker.running) == (owner, [])


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


async def test_results_of_a_partition_that_is_not_assigned_are_ignored() -> None:
    broker = FakeBroker()
    async with exactly_once(broker) as delivery:
        await delivery.on_assigned([PARTITION])
        await delivery.deliver([FrameResult.of(fetched(0, partition=5)), FrameResult.of(fetched(0))])
        await eventually(lambda: broker.offset == 1)
    assert broker.output == records_of(0)
