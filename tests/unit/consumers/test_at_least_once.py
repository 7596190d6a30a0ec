"""At least once: no offset is committed before its output; what Kafka refuses is sent again, in order."""

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
from consumers.delivery.output_partitions import OutputPartitions
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult
from framematch.core.health import Health, new_registry
from framematch.core.kafka.protocols import OffsetStore, Producer
from framematch.core.kafka.records import Headers, ProducerRecord
from framematch.core.kafka.topics import Topics
from framematch.core.settings import ConsumerSettings, KafkaSettings
from tests.support import eventually
from tests.unit.consumers.sample_frames import fetched

FRAMES = 6
PARTITION = fetched(0).partition


class FakeProducer:
    """Buffers records until the test acknowledges or refuses them. After one that is refused, all are."""

    def __init__(self, broker: "FakeBroker") -> None:
        self.broker = broker
        self.refused = False
        self.pending: list[tuple[bytes, asyncio.Future[object]]] = []

    async def start(self) -> None:
        if self.broker.failing_starts:
            self.broker.failing_starts -= 1
            raise KafkaError("not yet")
        self.broker.producer = self

    async def stop(self) -> None:
        self.refuse()

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers, partition: int | None
    ) -> asyncio.Future[object]:
        del topic, key, headers
        self.broker.partitions.add(partition)
        await self.broker.buffer_has_room.wait()
        if self.broker.refuses_to_buffer:
            raise KafkaTimeoutError
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.pending.append((value or b"", future))
        if self.refused:
            self.refuse()
        return future

    async def partitions_for(self, topic: str) -> set[int]:
        del topic
        return set(range(12))

    async def begin_transaction(self) -> None:
        raise NotImplementedError

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, int], group_id: str) -> None:
        raise NotImplementedError

    async def commit_transaction(self) -> None:
        raise NotImplementedError

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


class FakeBroker:
    """The records that were written, and the committed offset."""

    def __init__(self) -> None:
        self.log: list[int] = []
        self.partitions: set[int | None] = set()
        self.offset = 0
        self.failing_starts = 0
        self.refuses_to_buffer = False
        self.commit_error: KafkaError | None = None
        self.buffer_has_room = asyncio.Event()
        self.buffer_has_room.set()
        self.producer = FakeProducer(self)

    def new_producer(self, _settings: KafkaSettings) -> Producer:
        return FakeProducer(self)

    @property
    def offset_store(self) -> OffsetStore:
        return self

    async def committed(self, partition: TopicPartition) -> int | None:
        raise NotImplementedError

    def with_topic_ids(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        raise NotImplementedError

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.commit_error:
            raise self.commit_error
        (offset,) = offsets.values()
        assert set(range(offset)) <= set(self.log)
        assert offset > self.offset
        self.offset = offset


class OffsetEncoder:
    """Encodes each frame as one record: its offset."""

    def encode(self, result: FrameResult) -> list[ProducerRecord]:
        return [] if result.offset is None else [ProducerRecord("matches", result.key, str(result.offset).encode())]


@asynccontextmanager
async def delivering(broker: FakeBroker, delivered: list[int | None]) -> AsyncIterator[AtLeastOnce]:
    encoder: Any = OffsetEncoder()
    context = DeliveryContext(
        offset_store=broker.offset_store,
        encoder=encoder,
        partitions=OutputPartitions(Topics("framematch"), lambda: 12),
        on_delivered=lambda result: delivered.append(result.offset),
        kafka=KafkaSettings(),
        settings=ConsumerSettings(commit_interval_s=1_000),
        metrics=ConsumerMetrics(new_registry()),
        health=Health("output"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_least_once, "_BACKOFF_S", (0.0, 0.0))
        patch.setattr(at_least_once, "new_producer", broker.new_producer)
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
    """Let all tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def deliver_frames(delivery: AtLeastOnce, *offsets: int) -> None:
    frames = [fetched(offset) for offset in offsets]
    for frame in frames:
        delivery.fetched(frame)
    await delivery.deliver([FrameResult.of(frame) for frame in frames])


STEPS = st.sampled_from(["deliver", "deliver", "acknowledge", "refuse", "commit", "no producer"])


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, max_size=30))
async def test_whatever_kafka_refuses_nothing_is_lost_or_committed_early(script: list[str]) -> None:
    broker, delivered, tasks = FakeBroker(), list[int | None](), list[asyncio.Task[None]]()
    async with delivering(broker, delivered) as delivery:
        offsets = iter(range(FRAMES))

        def deliver() -> None:
            if (offset := next(offsets, None)) is not None:
                tasks.append(asyncio.create_task(deliver_frames(delivery, offset)))

        def refuse() -> None:
            broker.producer.refuse()

        actions: dict[str, Callable[[], object]] = {
            "deliver": deliver,
            "acknowledge": lambda: broker.producer.acknowledge(1),
            "refuse": refuse,
            "commit": lambda: tasks.append(asyncio.create_task(delivery.commit())),
            "no producer": lambda: setattr(broker, "failing_starts", 1),
        }
        for step in script + ["deliver"] * FRAMES:
            actions[step]()
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


async def test_an_offset_is_committed_after_all_below_it_however_results_are_ordered() -> None:
    broker, delivered = FakeBroker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        for offset in range(3):
            delivery.fetched(fetched(offset))
        await delivery.deliver([FrameResult.of(fetched(2))])
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [2])
        await delivery.commit()
        assert broker.offset == 0
        await delivery.deliver([FrameResult.of(fetched(0)), FrameResult.of(fetched(1))])
        broker.log.append(0)  # as if another consumer had published it: the order of the log is not tested here
        broker.producer.acknowledge(2)
        await eventually(lambda: len(delivered) == 3)
        await delivery.commit()
    assert broker.offset == 3


async def test_results_revoked_while_they_are_sent_are_not_reported() -> None:
    broker, delivered = FakeBroker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        broker.buffer_has_room.clear()
        delivering_task = asyncio.create_task(deliver_frames(delivery, 0))
        await settle()
        await delivery.on_revoked()
        delivery.fetched(fetched(0))  # the partition is assigned again, and the frame fetched again
        broker.buffer_has_room.set()
        await asyncio.wait_for(delivering_task, 5)
        broker.producer.acknowledge(1)
        await settle()
        assert delivered == []
        await delivery.deliver([FrameResult.of(fetched(0))])
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [0])


async def test_no_record_overtakes_one_that_the_producer_did_not_accept() -> None:
    broker, delivered = FakeBroker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        first = broker.producer
        await deliver_frames(delivery, 0)
        broker.refuses_to_buffer = True
        await deliver_frames(delivery, 1)
        broker.refuses_to_buffer = False  # it would accept the next one
        await deliver_frames(delivery, 2)
        first.acknowledge(9)
        await eventually(lambda: broker.producer is not first and len(broker.producer.pending) == 2)
        broker.producer.acknowledge(2)
        await eventually(lambda: delivered == [0, 1, 2])
    assert broker.log == [0, 1, 2]


async def test_revoked_results_are_not_resent_by_a_new_producer() -> None:
    broker, delivered = FakeBroker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        await deliver_frames(delivery, 0, 1)
        await delivery.on_revoked()
        first = broker.producer
        first.refuse()
        await deliver_frames(delivery, 5)
        await eventually(lambda: broker.producer is not first)
        await eventually(lambda: broker.producer.pending)
        assert [value for value, _ in broker.producer.pending] == [b"5"]
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [5])


@pytest.mark.parametrize(
    ("error", "event"), [(CommitFailedError(), "commit_refused"), (KafkaConnectionError(), "commit_failed")]
)
async def test_a_failed_commit_is_logged_and_retried(error: KafkaError, event: str) -> None:
    broker, delivered = FakeBroker(), list[int | None]()
    async with delivering(broker, delivered) as delivery:
        await deliver_frames(delivery, 0)
        broker.producer.acknowledge(1)
        await eventually(lambda: delivered == [0])
        broker.commit_error = error
        with capture_logs() as logs:
            await delivery.commit()
        assert [entry["event"] for entry in logs] == [event]
        assert broker.offset == 0
        broker.commit_error = None
        await delivery.commit()
    assert broker.offset == 1


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    with capture_logs():
        yield
