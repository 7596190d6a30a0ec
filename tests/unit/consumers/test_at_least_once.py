"""At least once: no offset is committed before its output is out; what is refused goes out again, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    RecordListTooLargeError,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consumers.delivery import at_least_once
from consumers.delivery.at_least_once import AtLeastOnce
from consumers.delivery.delivery import DeliveryContext
from consumers.delivery.outputs import Output
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult
from framematch.core.health import Health
from framematch.core.metrics import new_registry
from framematch.core.settings import ConsumerSettings, KafkaSettings
from tests.support import eventually
from tests.unit.consumers.sample_frames import fetched

FRAMES = 6
PARTITION = fetched(0).partition


class Producer:
    """Takes records; they are out when the broker acknowledges them. After one that is refused, all are."""

    def __init__(self, broker: "Broker") -> None:
        self.broker = broker
        self.refused = False
        self.pending: list[tuple[bytes, asyncio.Future[object]]] = []

    async def start(self) -> None:
        if self.broker.starts_fail:
            self.broker.starts_fail -= 1
            raise KafkaError("not yet")
        self.broker.producer = self

    async def stop(self) -> None:
        self.refuse()

    async def send(self, _topic: str, value: bytes, **_record: Any) -> asyncio.Future[object]:
        await self.broker.room.wait()
        if self.broker.full:
            raise KafkaTimeoutError
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.pending.append((value, future))
        if self.refused:
            self.refuse()
        return future

    def acknowledge(self, count: int) -> None:
        for value, future in self.pending[:count]:
            self.broker.log.append(int(value))
            future.set_result(None)
        del self.pending[:count]

    def refuse(self) -> None:
        self.refused = True
        for _, future in self.pending:
            future.set_exception(RecordListTooLargeError())
        self.pending.clear()


class Broker:
    """What is out, and what is committed."""

    def __init__(self) -> None:
        self.log: list[int] = []
        self.offset = 0
        self.starts_fail = 0
        self.full = False
        self.commit_fails: KafkaError | None = None
        self.room = asyncio.Event()
        self.room.set()
        self.producer = Producer(self)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.commit_fails:
            raise self.commit_fails
        (offset,) = offsets.values()
        assert set(range(offset)) <= set(self.log)
        assert offset > self.offset
        self.offset = offset


class NumberedOutputs:
    """One record for each frame: its offset."""

    def of(self, answer: FrameResult) -> list[Output]:
        return [] if answer.offset is None else [Output("matches", answer.key, str(answer.offset).encode(), [])]


@asynccontextmanager
async def delivering(broker: Broker, delivered: list[int | None]) -> AsyncIterator[AtLeastOnce]:
    stand_ins: Any = {"consumer": broker, "outputs": NumberedOutputs()}
    context = DeliveryContext(
        **stand_ins,
        on_delivered=lambda answer: delivered.append(answer.offset),
        kafka=KafkaSettings(),
        settings=ConsumerSettings(commit_interval_s=1_000),
        metrics=ConsumerMetrics(new_registry()),
        health=Health("output"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_least_once, "_BACKOFF_S", (0.0, 0.0))
        patch.setattr(at_least_once, "new_producer", lambda _settings: Producer(broker))
        delivery = AtLeastOnce(context)
        running = asyncio.create_task(delivery.run())
        try:
            await delivery.on_assigned([PARTITION])
            yield delivery
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait([running])


async def settle() -> None:
    """Let all tasks go on as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def hand_over(delivery: AtLeastOnce, *offsets: int) -> None:
    frames = [fetched(offset) for offset in offsets]
    for frame in frames:
        delivery.fetched(frame)
    await delivery.deliver([FrameResult.of(frame) for frame in frames])


STEPS = st.sampled_from(["deliver", "deliver", "acknowledge", "refuse", "commit", "no producer"])


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, max_size=30))
async def test_whatever_is_refused_nothing_is_lost_nor_committed_early(script: list[str]) -> None:
    broker, delivered, tasks = Broker(), list[int | None](), list[asyncio.Task[None]]()
    async with delivering(broker, delivered) as delivery:
        offsets = iter(range(FRAMES))

        def deliver() -> None:
            if (offset := next(offsets, None)) is not None:
                tasks.append(asyncio.create_task(hand_over(delivery, offset)))

        def refuse() -> None:
            broker.producer.refuse()

        acts: dict[str, Callable[[], object]] = {
            "deliver": deliver,
            "acknowledge": lambda: broker.producer.acknowledge(1),
            "refuse": refuse,
            "commit": lambda: tasks.append(asyncio.create_task(delivery.commit())),
            "no producer": lambda: setattr(broker, "starts_fail", 1),
        }
        for step in script + ["deliver"] * FRAMES:
            acts[step]()
            await settle()
        while len(delivered) < FRAMES:
            await eventually(lambda: broker.producer.pending, timeout_s=5, message=f"a record after {delivered}")
            broker.producer.acknowledge(1)
            await settle()
        await asyncio.gather(*tasks)
        await delivery.commit()
    assert delivered == list(range(FRAMES))
    assert list(dict.fromkeys(broker.log)) == list(range(FRAMES))
    assert broker.offset == FRAMES


async def test_what_is_acknowledged_out_of_order_waits_for_those_before_it() -> None:
    broker, delivered = Broker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        for offset in range(3):
            delivery.fetched(fetched(offset))
        await delivery.deliver([FrameResult.of(fetched(2))])
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [2])
        await delivery.commit()
        assert broker.offset == 0
        await delivery.deliver([FrameResult.of(fetched(0)), FrameResult.of(fetched(1))])
        broker.log.append(0)  # as if another consumer had done it: the order of the log is not what is tested
        broker.producer.acknowledge(2)
        await eventually(lambda: len(delivered) == 3)
        await delivery.commit()
    assert broker.offset == 3


async def test_what_is_given_back_while_it_is_sent_counts_no_more() -> None:
    broker, delivered = Broker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        broker.room.clear()  # as a producer whose buffer is full
        handing = asyncio.create_task(hand_over(delivery, 0))
        await settle()
        await delivery.on_revoked()
        delivery.fetched(fetched(0))  # the partition comes back, and so does the frame
        broker.room.set()
        await asyncio.wait_for(handing, 5)
        broker.producer.acknowledge(1)
        await settle()
        assert delivered == []
        await delivery.deliver([FrameResult.of(fetched(0))])
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [0])


async def test_nothing_overtakes_what_the_producer_did_not_take() -> None:
    broker, delivered = Broker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        first = broker.producer
        await hand_over(delivery, 0)
        broker.full = True
        await hand_over(delivery, 1)
        broker.full = False  # it would take the next one
        await hand_over(delivery, 2)
        first.acknowledge(9)
        await eventually(lambda: broker.producer is not first and len(broker.producer.pending) == 2)
        broker.producer.acknowledge(2)
        await eventually(lambda: delivered == [0, 1, 2])
    assert broker.log == [0, 1, 2]


async def test_what_was_given_back_is_not_sent_again_by_a_new_producer() -> None:
    broker, delivered = Broker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        await hand_over(delivery, 0, 1)
        await delivery.on_revoked()
        first = broker.producer
        first.refuse()
        await hand_over(delivery, 5)
        await eventually(lambda: broker.producer is not first)
        await eventually(lambda: broker.producer.pending)
        assert [value for value, _ in broker.producer.pending] == [b"5"]
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [5])


@pytest.mark.parametrize(
    ("error", "said"), [(CommitFailedError(), "commit_refused"), (KafkaConnectionError(), "commit_failed")]
)
async def test_a_commit_that_fails_is_told_and_tried_again(error: KafkaError, said: str) -> None:
    broker, delivered = Broker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        await hand_over(delivery, 0)
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [0])
        broker.commit_fails = error
        with capture_logs() as logs:
            await delivery.commit()
        assert [line["event"] for line in logs] == [said]
        assert broker.offset == 0
        broker.commit_fails = None
        await delivery.commit()
    assert broker.offset == 1


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    with capture_logs():
        yield
