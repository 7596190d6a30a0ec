"""The edge's producer with a real broker: partitions, rejections, closing, TLS and passwords."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from edge.outbox.dispatcher import Dispatcher
from edge.outbox.producer import Acknowledgement, RecordGivenUpError
from edge.outbox.reconnecting_producer import ReconnectingProducer
from edge.sinks import Outgoing
from framematch.core.errors import KafkaUnavailableError
from framematch.core.frames import Frame, parse_frame
from framematch.core.kafka.clients import client_options, started
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics
from framematch.core.settings import EdgeSettings, KafkaSettings, SpoolSettings
from framematch.core.timestamps import now_us
from framematch.stack.kafka import KafkaServer
from tests.conftest import running
from tests.integration.edge_service import new_prefix, read_topic
from tests.integration.test_kafka_security import WAYS_IN, Site
from tests.support import eventually, freeze
from tests.unit.edge.outbox.scripted import FakeStats

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

LONG_S = 90.0
SMALL, LARGE, LARGEST = 20_000, 40_000, 30_000


@pytest.fixture(name="settings")
def _settings(kafka: KafkaServer) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=new_prefix(), partitions=3)


@contextlib.asynccontextmanager
async def connected(settings: KafkaSettings) -> AsyncIterator[ReconnectingProducer]:
    producer = ReconnectingProducer(settings)
    running = asyncio.create_task(producer.run())
    try:
        async with asyncio.timeout(LONG_S):
            await producer.wait_connected()
        yield producer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await producer.close()


def topic_of(settings: KafkaSettings) -> str:
    return Topics(settings.topic_prefix).frames


def record(settings: KafkaSettings, key: str, size: int = SMALL) -> ProducerRecord:
    return ProducerRecord(topic_of(settings), key.encode(), bytes(size), (), 1)


async def read(settings: KafkaSettings) -> list[ConsumerRecord]:
    return await asyncio.to_thread(read_topic, str(settings.bootstrap_servers), topic_of(settings))


async def settle(futures: list[Acknowledgement]) -> list[BaseException | None]:
    async with asyncio.timeout(LONG_S):
        await asyncio.wait(futures)
    return [future.exception() for future in futures]


async def limit_batches(settings: KafkaSettings) -> None:
    """Create the frames topic with one partition, whose batches may have a small record but not a large one."""
    limit = {"max.message.bytes": str(LARGEST)}
    async with started(AIOKafkaAdminClient(**client_options(settings)), settings) as admin:
        await admin.create_topics([NewTopic(topic_of(settings), 1, 1, topic_configs=limit)])


async def test_a_camera_has_the_same_partition_as_with_other_clients(settings: KafkaSettings) -> None:
    keys = [f"camera-{number}" for number in range(60)]
    async with connected(settings) as producer:
        assert not any(await settle([await producer.send(record(settings, key, 10)) for key in keys]))
    partitions = list(range(settings.partitions))
    found = {record.key: record.partition for record in await read(settings)}
    assert found == {key.encode(): DefaultPartitioner()(key.encode(), partitions, partitions) for key in keys}
    assert set(found.values()) == set(partitions)


async def test_nothing_overtakes_a_record_that_the_broker_rejects(settings: KafkaSettings) -> None:
    await limit_batches(settings)
    sizes = [10] * 20 + [LARGE] + [10] * 300
    futures = []
    # Without lingering there are many batches: some behind the rejected one are in flight already.
    async with connected(settings.model_copy(update={"linger_ms": 0})) as producer:
        # A broker accepts any batch as a producer's first in a partition.
        assert not any(await settle([await producer.send(record(settings, "till-1", 9))]))
        with contextlib.suppress(KafkaUnavailableError, RecordGivenUpError):  # it takes no more, but its successor will
            for size in sizes:
                futures.append(await producer.send(record(settings, "till-1", size)))
                await asyncio.sleep(0.0005)
        errors = await settle(futures)
        await eventually(lambda: producer.connected, timeout_s=LONG_S, message="a new producer")
        assert not any(await settle([await producer.send(record(settings, "till-1", 11))]))
    assert any(isinstance(error, MessageSizeTooLargeError) for error in errors)
    failed = [error is not None for error in errors]
    assert failed == sorted(failed), "all behind the first that failed have failed"
    written = [len(record.value) for record in await read(settings)]
    assert written == [9] + [10] * failed.count(False) + [11]


async def test_a_record_that_is_rejected_in_isolation_fails_alone(settings: KafkaSettings) -> None:
    await limit_batches(settings)
    async with connected(settings) as producer:
        sends = [await producer.send_isolated(record(settings, "till-1", size)) for size in (10, LARGE, 11)]
        errors = await settle(sends)
        assert producer.connected
    assert [type(error) for error in errors] == [type(None), MessageSizeTooLargeError, type(None)]
    assert [len(record.value) for record in await read(settings)] == [10, 11]


async def test_when_a_broker_rejects_shared_batches_it_gets_each_other_frame_once_and_in_order(
    settings: KafkaSettings, tmp_path: Path
) -> None:
    await limit_batches(settings)
    cameras, sizes = ("till-1", "till-2"), [SMALL] * 10 + [LARGE] + [SMALL] * 10
    dispatcher = Dispatcher(settings, EdgeSettings(spool=SpoolSettings(folder=str(tmp_path))))
    stats_of = {camera: FakeStats(camera) for camera in cameras}
    outboxes = {camera: dispatcher.outbox(camera, stats, live=True) for camera, stats in stats_of.items()}
    running = asyncio.create_task(dispatcher.run())
    await eventually(lambda: dispatcher.producer.connected, timeout_s=LONG_S)
    for sequence, size in enumerate(sizes):
        for camera, outbox in outboxes.items():
            frame = Frame(camera, now_us(), sequence, grabbed_at_us=now_us())
            await outbox.put(Outgoing(frame, bytes(size), asyncio.get_running_loop().time()))
    await eventually(
        lambda: all(stats.published_frames + sum(stats.drops.values()) == len(sizes) for stats in stats_of.values()),
        timeout_s=LONG_S,
    )
    await dispatcher.finish(5.0)
    await running
    await dispatcher.close()
    frames = [parse_frame(record.key, record.headers) for record in await read(settings)]
    for camera, stats in stats_of.items():
        assert dict(stats.drops) == {("publish", "too_large"): 1}
        sequences = [frame.sequence for frame in frames if frame.camera == camera]
        assert sequences == [*range(10), *range(11, len(sizes))]


async def test_close_does_not_wait_for_a_silent_broker(breakable_kafka: KafkaServer) -> None:
    settings = KafkaSettings(
        bootstrap_servers=breakable_kafka.bootstrap_servers, topic_prefix=new_prefix(), partitions=1
    )
    async with connected(settings) as producer:
        assert not any(await settle([await producer.send(record(settings, "till-1"))]))
        freeze(breakable_kafka.pid)
        futures = [await producer.send(record(settings, "till-1")) for _ in range(100)]
    assert all(future.done() and future.exception() for future in futures)


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("kafka-security"))
    with running(site.server):
        yield site


@pytest.mark.parametrize(("listener", "mechanism"), WAYS_IN)
async def test_records_are_written_through_every_listener_of_a_broker(
    site: Site, listener: str, mechanism: str | None
) -> None:
    prefix = new_prefix()
    settings = site.settings(
        listener, topic_prefix=prefix, partitions=1, **({"sasl_mechanism": mechanism} if mechanism else {})
    )
    async with connected(settings) as producer:
        assert not any(await settle([await producer.send(record(settings, "till-1", 12))]))
    records = await asyncio.to_thread(read_topic, site.server.bootstrap_servers, topic_of(settings))
    assert [(record.key, len(record.value)) for record in records] == [(b"till-1", 12)]
