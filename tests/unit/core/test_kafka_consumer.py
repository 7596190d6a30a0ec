"""The consumer reads around what it cannot decode, and an error that is about something else stays one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata
from structlog.testing import capture_logs

from framematch.core.kafka import consumer as module
from framematch.core.kafka.clients import new_consumer, stop_client
from framematch.core.kafka.consumer import Consumer, UnreadableRecords
from framematch.core.kafka.protocols import Committed
from framematch.core.kafka.record_batches import UnreadableBatch
from framematch.core.settings import KafkaSettings

A, B = TopicPartition("framematch.frames", 0), TopicPartition("framematch.frames", 1)
BAD = UnreadableBatch(7, 9, "unknown (5)", "RuntimeError")


class FakeLog:
    """What one fetch of each partition finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, consumer: Consumer, error: Exception) -> None:
        self.found: dict[TopicPartition, Any] = {A: ([], None), B: ([], None)}
        self.error: Exception | None = error
        self.sought: list[tuple[TopicPartition, int]] = []
        for name, value in {
            "assignment": lambda: frozenset({A, B}),
            "paused": frozenset,
            "next_offsets": lambda: {A: 3, B: 7},
            "seek": lambda partition, offset: self.sought.append((partition, offset)),
            "_read_partition": self.read,
        }.items():
            monkeypatch.setattr(consumer, name, value)
        monkeypatch.setattr(AIOKafkaConsumer, "getmany", self.getmany)
        monkeypatch.setattr(module, "_RETRY_S", 0.0)

    async def read(self, partition: TopicPartition, _offset: int) -> Any:
        return self.found[partition]

    async def getmany(self, *_partitions: object, **_options: object) -> dict[TopicPartition, Any]:
        if self.error:
            raise self.error
        return {}


@pytest.fixture
async def found() -> list[UnreadableRecords]:
    return []


@pytest.fixture
async def consumer(found: list[UnreadableRecords]) -> AsyncIterator[Consumer]:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9092")
    own = new_consumer(settings, on_unreadable=found.append)
    yield own
    await stop_client(own)


@pytest.mark.parametrize("error", [RuntimeError("codec"), CorruptRecordException("CRC"), ValueError("zstd")])
async def test_the_partition_is_found_and_its_batch_is_skipped_and_reported(
    monkeypatch: pytest.MonkeyPatch, consumer: Consumer, found: list[UnreadableRecords], error: Exception
) -> None:
    log = FakeLog(monkeypatch, consumer, error)
    log.found[B] = ([], BAD)
    with capture_logs() as logs:
        assert await consumer.getmany(timeout_ms=10) == {}
    assert log.sought == [(A, 3), (B, 7), (B, 9)]
    assert found == [UnreadableRecords(B, 7, 9, "unknown (5)", "RuntimeError")]
    assert [(line["event"], line["partition"], line["from_offset"]) for line in logs] == [("records_unreadable", 1, 7)]


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError("x"), KafkaError("y"), ConsumerStoppedError()])
async def test_an_error_that_is_not_about_records_is_raised(
    monkeypatch: pytest.MonkeyPatch, consumer: Consumer, error: Exception
) -> None:
    FakeLog(monkeypatch, consumer, error).found[B] = ([], BAD)
    with pytest.raises(type(error)):
        await consumer.getmany(timeout_ms=10)


async def test_records_that_were_damaged_on_their_way_are_read_again(
    monkeypatch: pytest.MonkeyPatch, consumer: Consumer, found: list[UnreadableRecords]
) -> None:
    log = FakeLog(monkeypatch, consumer, CorruptRecordException("CRC"))
    with capture_logs() as logs:
        assert await consumer.getmany(timeout_ms=10) == {}
        log.error = None
        assert await consumer.getmany(timeout_ms=10) == {}
    assert [line["event"] for line in logs] == ["records_read_again"]
    assert found == []


async def test_a_broker_that_does_not_answer_meanwhile_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, consumer: Consumer, found: list[UnreadableRecords]
) -> None:
    log = FakeLog(monkeypatch, consumer, RuntimeError("codec"))
    log.found[B] = None
    with capture_logs():
        for _ in range(30):
            assert await consumer.getmany(timeout_ms=10) == {}
        log.found[B] = ([], BAD)
        await consumer.getmany(timeout_ms=10)
    assert [one.first for one in found] == [7]


async def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch, consumer: Consumer) -> None:
    FakeLog(monkeypatch, consumer, ZeroDivisionError())
    with capture_logs():
        for _ in range(10):
            await consumer.getmany(timeout_ms=10)
    with pytest.raises(ZeroDivisionError):
        await consumer.getmany(timeout_ms=10)


@pytest.mark.parametrize(
    ("metadata", "topic_id"),
    [
        ("topic_id=00ff", b"\x00\xff"),
        ("", None),
        (None, None),
        ("topic_id=", None),
        ("topic_id=who", None),
        ("x", None),
    ],
)
async def test_the_topic_id_of_a_commit_is_read_from_its_metadata(
    monkeypatch: pytest.MonkeyPatch, consumer: Consumer, metadata: str | None, topic_id: bytes | None
) -> None:
    async def fetch_committed_offsets(_partitions: object) -> dict[TopicPartition, OffsetAndMetadata]:
        return {A: OffsetAndMetadata(7, metadata)}

    coordinator = type("Coordinator", (), {"fetch_committed_offsets": staticmethod(fetch_committed_offsets)})
    with monkeypatch.context() as patch:
        patch.setattr(consumer, "_coordinator", coordinator(), raising=False)
        assert await consumer.commits([A, B]) == {A: Committed(7, topic_id), B: None}


async def test_a_commit_contains_the_id_of_its_topic(consumer: Consumer) -> None:
    consumer.topic_ids["framematch.frames"] = b"\x00\xff"
    assert consumer.with_topic_ids({A: 7}) == {A: (7, "topic_id=00ff")}
