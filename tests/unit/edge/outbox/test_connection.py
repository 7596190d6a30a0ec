"""What the connection relies on in aiokafka's producer, without a broker."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import NotLeaderForPartitionError
from aiokafka.structs import TopicPartition

from edge.outbox.connection import Connection, keep_batches
from framematch.core.errors import KafkaUnavailableError
from framematch.core.settings import KafkaSettings
from tests.support import eventually

NOBODY = "127.0.0.1:9"


async def after_its_time(*, keep: bool) -> asyncio.Future[object]:
    """The fate of a record whose partition has no leader for longer than `request_timeout_ms`."""
    producer = AIOKafkaProducer(bootstrap_servers=NOBODY, request_timeout_ms=1)
    if keep:
        keep_batches(producer)
    accumulator = producer._message_accumulator  # noqa: SLF001  # where keep_batches reaches
    began_s = time.monotonic()
    future: asyncio.Future[object] = await accumulator.add_message(TopicPartition("frames", 0), b"key", b"value", 1)
    await eventually(lambda: time.monotonic() - began_s > 0.005)
    accumulator.drain_by_nodes(ignore_nodes=[])
    await producer.stop()
    return future


async def test_aiokafka_fails_a_batch_that_waits_too_long_for_a_leader() -> None:
    with pytest.raises(NotLeaderForPartitionError):
        await (await after_its_time(keep=False))


async def test_our_batches_wait_for_a_leader_however_long_it_takes() -> None:
    assert not (await after_its_time(keep=True)).done()


async def test_without_a_producer_nothing_is_queued() -> None:
    connection = Connection(KafkaSettings(bootstrap_servers=NOBODY))
    assert not connection.connected
    with pytest.raises(KafkaUnavailableError):
        await connection.send("frames", {"key": b"key", "value": b"value"})
    await connection.close()
