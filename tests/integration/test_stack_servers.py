"""The local Kafka, MongoDB and RTSP servers: they answer, keep their data over a kill, and leave no process behind."""

import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import MongoClient

from framematch.core.errors import CameraUnavailableError, FramematchError, KafkaUnavailableError, MongoUnavailableError
from framematch.stack import kafka as kafka_module
from framematch.stack import mediamtx as mediamtx_module
from framematch.stack import mongodb as mongodb_module
from framematch.stack.cache import run_tool
from framematch.stack.golang import MIN_GO_VERSION, go_program, go_version
from framematch.stack.kafka import KafkaServer
from framematch.stack.mediamtx import MediaMtxServer
from framematch.stack.mongodb import MongoServer
from framematch.stack.server import LOOPBACK, Server

pytestmark = pytest.mark.integration


@asynccontextmanager
async def admin_of(server: KafkaServer) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def produce(server: KafkaServer, topic: str, value: bytes) -> None:
    """Create the topic, and write one acknowledged record to it."""
    async with admin_of(server) as admin:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    async with AIOKafkaProducer(bootstrap_servers=server.bootstrap_servers, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def consume_first(server: KafkaServer, topic: str) -> bytes | None:
    """The first record's value."""
    async with AIOKafkaConsumer(bootstrap_servers=server.bootstrap_servers) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        record = await consumer.getone()
        value: bytes | None = record.value
        return value


async def test_a_killed_kafka_has_its_records_when_it_restarts_on_its_port_and_on_another(tmp_path: Path) -> None:
    first, second = KafkaServer(tmp_path), KafkaServer(tmp_path)
    try:
        first.start()
        await produce(first, "kept", b"frame")
        first.kill()
        with pytest.raises(KafkaUnavailableError):
            kafka_module.ping(first.bootstrap_servers)
        first.start()
        assert await consume_first(first, "kept") == b"frame"
        first.stop()
        second.start()
        assert await consume_first(second, "kept") == b"frame"
    finally:
        first.stop()
        second.stop()


async def test_kafka_creates_no_topic_automatically(kafka: KafkaServer) -> None:
    async with admin_of(kafka) as admin:
        await admin.describe_topics(["never-created"])
        assert "never-created" not in await admin.list_topics()


def test_kafka_loads_its_classes_from_the_archive(kafka: KafkaServer) -> None:
    assert "/kafka.jsa" in Path(f"/proc/{kafka.pid}/maps").read_text()


def test_a_cluster_id_that_starts_with_a_dash_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    server = KafkaServer(tmp_path)
    server.prepare()
    assert "cluster.id=-" in (tmp_path / "data" / "meta.properties").read_text()


def test_mongodb_keeps_acknowledged_writes_over_a_restart(tmp_path: Path) -> None:
    server = MongoServer(tmp_path)
    server.start()
    try:
        with MongoClient[dict[str, object]](server.uri) as client:
            client.shop.products.insert_one({"_id": "apple"})
        server.stop()
        with pytest.raises(MongoUnavailableError):
            mongodb_module.ping(server.uri)
        server.start()
        with MongoClient[dict[str, object]](server.uri) as client:
            assert client.shop.products.find_one() == {"_id": "apple"}
    finally:
        server.stop()


def test_rtsp_answers_only_while_it_runs(tmp_path: Path) -> None:
    server = MediaMtxServer(tmp_path)
    server.start()
    try:
        mediamtx_module.ping(server.url)
    finally:
        server.stop()
    with pytest.raises(CameraUnavailableError):
        mediamtx_module.ping(server.url)


def test_a_server_with_another_protocol_is_not_taken_for_rtsp(mongodb: MongoServer) -> None:
    with pytest.raises(CameraUnavailableError):
        mediamtx_module.ping(mongodb.uri.replace("mongodb", "rtsp"))


@pytest.mark.parametrize("kind", [KafkaServer, MongoServer, MediaMtxServer])
def test_a_port_in_use_fails_the_start_and_is_named(kind: Callable[[Path], Server], tmp_path: Path) -> None:
    server = kind(tmp_path)
    port = int(server.address.rsplit(":", 1)[1])
    # Another program, which sends nothing.
    with (
        socket.create_server((LOOPBACK, port)),
        pytest.raises(FramematchError, match=rf"another program listens at 127\.0\.0\.1:{port}"),
    ):
        server.start()


def test_without_go_on_path_the_toolchain_of_its_wheel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    go = go_program()
    version = go_version(run_tool([go, "env", "GOVERSION"], what="asking for its version"))
    assert version >= MIN_GO_VERSION
