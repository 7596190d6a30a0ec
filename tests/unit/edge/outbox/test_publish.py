"""The publisher's account: each frame is published or dropped, once, and the number on their way is bounded."""

import asyncio
from dataclasses import dataclass, field

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber
from prometheus_client import CollectorRegistry

from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics
from edge.outbox.producer import Acknowledgement, Record
from edge.outbox.publish import Publisher, drop_reason
from framematch.core.errors import KafkaUnavailableError
from framematch.core.frames import Frame, parse_frame


@dataclass
class MemoryProducer:
    """Keeps what is sent; the test settles the acknowledgements. `refuses` is raised instead of queueing."""

    records: list[tuple[str, Record]] = field(default_factory=list)
    acknowledgements: list[Acknowledgement] = field(default_factory=list)
    refuses: Exception | None = None

    async def send(self, topic: str, record: Record) -> Acknowledgement:
        if self.refuses is not None:
            raise self.refuses
        self.records.append((topic, record))
        self.acknowledgements.append(asyncio.get_running_loop().create_future())
        return self.acknowledgements[-1]


@pytest.fixture
def meter() -> CameraMeter:
    return CameraMeter("till-1", EdgeMetrics(CollectorRegistry()), lambda: None)


@pytest.fixture
def producer() -> MemoryProducer:
    return MemoryProducer()


def publisher_to(producer: MemoryProducer, *, unacknowledged_max: int = 8) -> Publisher:
    return Publisher(producer, "p.frames", unacknowledged_max=unacknowledged_max, max_message_bytes=1_000)


def frame(sequence: int = 0) -> Frame:
    return Frame("till-1", 1_700_000_000_123_456, sequence)


async def test_a_record_is_the_jpeg_with_key_headers_and_capture_time(
    producer: MemoryProducer, meter: CameraMeter
) -> None:
    await publisher_to(producer).publish(frame(3), b"jpeg", 0.0, meter)
    topic, record = producer.records[0]
    assert (topic, record["key"], record["value"]) == ("p.frames", b"till-1", b"jpeg")
    assert record["timestamp_ms"] == 1_700_000_000_123
    assert parse_frame(record["key"], record["headers"]) == frame(3)


async def test_a_frame_counts_as_published_only_when_acknowledged(producer: MemoryProducer, meter: CameraMeter) -> None:
    publisher = publisher_to(producer)
    await publisher.publish(frame(), b"jpeg", 0.0, meter)
    assert (meter.read().published, publisher.unacknowledged) == (0, 1)
    producer.acknowledgements[0].set_result(None)
    await publisher.drained()
    assert (meter.read().published, publisher.unacknowledged) == (1, 0)


async def test_a_frame_that_kafka_refuses_later_is_dropped_with_the_reason(
    producer: MemoryProducer, meter: CameraMeter
) -> None:
    publisher = publisher_to(producer)
    await publisher.publish(frame(), b"jpeg", 0.0, meter)
    producer.acknowledgements[0].set_exception(OutOfOrderSequenceNumber())
    await publisher.drained()
    assert (meter.read().published, meter.read().drops) == (0, {"refused": 1})


async def test_a_frame_that_cannot_be_queued_is_dropped_and_frees_its_place(
    producer: MemoryProducer, meter: CameraMeter
) -> None:
    publisher = publisher_to(producer, unacknowledged_max=1)
    producer.refuses = KafkaUnavailableError("away")
    await publisher.publish(frame(0), b"jpeg", 0.0, meter)
    await publisher.publish(frame(1), b"jpeg", 0.0, meter)
    assert meter.read().drops == {"kafka_away": 2}
    await publisher.drained()


async def test_a_frame_above_the_limit_is_never_sent(producer: MemoryProducer, meter: CameraMeter) -> None:
    publisher = publisher_to(producer)
    await publisher.publish(frame(), b"x" * 1_001, 0.0, meter)
    assert (producer.records, meter.read().drops) == ([], {"too_large": 1})
    await publisher.publish(frame(), b"x" * 1_000, 0.0, meter)
    assert len(producer.records) == 1


async def test_no_more_than_the_bound_are_on_their_way(producer: MemoryProducer, meter: CameraMeter) -> None:
    publisher = publisher_to(producer, unacknowledged_max=2)
    await publisher.publish(frame(0), b"jpeg", 0.0, meter)
    await publisher.publish(frame(1), b"jpeg", 0.0, meter)
    third = asyncio.create_task(publisher.publish(frame(2), b"jpeg", 0.0, meter))
    await asyncio.sleep(0)
    assert len(producer.records) == 2
    producer.acknowledgements[0].set_result(None)
    await asyncio.wait_for(third, 10)
    assert len(producer.records) == 3


async def test_drained_waits_for_the_last_frame(producer: MemoryProducer, meter: CameraMeter) -> None:
    publisher = publisher_to(producer)
    for sequence in range(3):
        await publisher.publish(frame(sequence), b"jpeg", 0.0, meter)
    waiting = asyncio.create_task(publisher.drained())
    for acknowledgement in producer.acknowledgements[:2]:
        acknowledgement.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    producer.acknowledgements[2].set_result(None)
    await asyncio.wait_for(waiting, 10)


async def test_without_frames_on_their_way_nothing_is_stalled(producer: MemoryProducer, meter: CameraMeter) -> None:
    publisher = publisher_to(producer)
    assert publisher.stalled_s == 0
    await publisher.publish(frame(), b"jpeg", 0.0, meter)
    assert publisher.stalled_s > 0
    producer.acknowledgements[0].set_result(None)
    await publisher.drained()
    assert publisher.stalled_s == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MessageSizeTooLargeError(), "too_large"),
        (KafkaUnavailableError("away"), "kafka_away"),
        (KafkaError(), "refused"),
    ],
)
def test_reasons_are_few_and_stable(error: Exception, reason: str) -> None:
    assert drop_reason(error) == reason
