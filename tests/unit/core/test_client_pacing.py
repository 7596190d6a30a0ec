"""Requests for metadata, and connections to a broker that is away, are made at a bounded rate."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from structlog.testing import capture_logs

from framematch.core.kafka import client_pacing
from framematch.core.kafka.client_pacing import Pace, PacedClient, pace
from framematch.core.kafka.clients import librdkafka_options, new_admin, new_consumer, new_producer, stop_client
from framematch.core.settings import KafkaSettings


def attempts_within(seconds: float, pace: Pace) -> int:
    """How often somebody tries who does so as soon as he may."""
    now_s, count = 100.0, 0
    while now_s < 100.0 + seconds:
        pace.attempted(now_s)
        count += 1
        now_s += max(pace.delay_s(now_s), 0.001)
    return count


def test_the_first_attempts_follow_quickly_and_then_one_a_second() -> None:
    assert attempts_within(0.1, Pace()) == 3
    assert 10 < attempts_within(10.0, Pace()) < 20


def test_after_a_calm_time_an_attempt_is_made_at_once() -> None:
    own = Pace()
    for number in range(10):
        own.attempted(float(number))
    assert own.delay_s(9.5) == 0.5
    own.attempted(20.0)
    assert own.delay_s(20.0) == pytest.approx(0.02)


async def test_a_dead_broker_is_not_tried_by_every_task_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    async def refuse(*_address: object, **_options: object) -> None:
        tried.append(_address)
        raise OSError

    monkeypatch.setattr("aiokafka.client.create_conn", refuse)
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:9092")
    pace(client)
    client.cluster._brokers = {1: SimpleNamespace(nodeId=1, host="127.0.0.1", port=9092)}  # noqa: SLF001  # as of an answer
    for _ in range(50):
        assert not await client.ready(1)
    assert len(tried) < 5


async def test_no_client_lets_a_broker_create_the_topic_that_it_asks_for() -> None:
    sent: list[Any] = []

    class Connection:
        def connected(self) -> bool:
            return True

        async def send(self, request: Any) -> Any:
            sent.append(request)
            raise TimeoutError

    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:9092")
    pace(client)
    client._conns[client_pacing._BOOTSTRAP] = Connection()  # noqa: SLF001  # where aiokafka keeps it
    with capture_logs():
        assert not await client._metadata_update(client.cluster, ["framematch.frames"])  # noqa: SLF001  # the same
    assert [request._allow_auto_topic_creation for request in sent] == [False]  # noqa: SLF001  # the same


async def test_all_clients_of_aiokafka_have_a_bounded_rate() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9092")
    admin, consumer, producer = new_admin(settings), new_consumer(settings), new_producer(settings)
    for client in (admin._client, consumer._client, producer.client):  # noqa: SLF001  # where aiokafka keeps it
        assert isinstance(client, PacedClient)
        assert client._metadata_max_age_ms <= 30_000  # noqa: SLF001  # the same
    for started in (consumer, producer, admin):
        await stop_client(started)


def test_the_edge_creates_no_topic_by_sending_to_it_and_sees_new_partitions_soon() -> None:
    options = librdkafka_options(KafkaSettings(bootstrap_servers="127.0.0.1:9092"))
    assert options["allow.auto.create.topics"] is False
    assert options["topic.metadata.refresh.interval.ms"] <= 30_000
    assert options["partitioner"] == "murmur2_random"


async def test_a_partition_that_its_broker_cannot_read_is_named_once_and_not_asked_for_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, partition = [2], TopicPartition("framematch.frames", 3)
    pauses: list[float] = []

    async def answer(*_request: object, **_options: object) -> Any:
        return SimpleNamespace(topics=[("framematch.frames", [(3, code[0], -1, b""), (4, 0, -1, b"")])])

    async def sleep(delay_s: float) -> None:
        pauses.append(delay_s)

    monkeypatch.setattr(AIOKafkaClient, "send", answer)
    monkeypatch.setattr("framematch.core.kafka.client_pacing.asyncio.sleep", sleep)
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:9092")
    pace(client)
    request = FetchRequest(0, 0, 0, 0, [])
    with capture_logs() as logs:
        for _ in range(3):
            await client.send(1, request)
        assert client.fetch_errors == {partition: "CorruptRecordException"}
        code[0] = 0
        await client.send(1, request)
        assert client.fetch_errors == {}
    assert [(line["event"], line["partition"]) for line in logs] == [("partition_unreadable", 3)]
    assert len(pauses) == 3
