"""A compacted topic in memory, from a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from framematch.core.kafka.clients import new_admin, new_producer, started
from framematch.core.kafka.compacted_topic import CompactedTopic
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import new_prefix
from tests.support import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(name="settings")
async def _settings(kafka: KafkaServer) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=new_prefix())
    await ensure_topics(settings)
    return settings


async def send(settings: KafkaSettings, *records: tuple[str, bytes | None], abort: bool = False) -> int:
    """Send them in a transaction; returns the offset of the last one."""
    topic = Topics(settings.topic_prefix).cameras
    async with started(new_producer(settings, transactional_id=f"{topic}.test"), settings) as producer:
        await producer.begin_transaction()
        sent = [await producer.send_and_wait(topic, value, key=key.encode()) for key, value in records]
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    return int(sent[-1].offset)


@asynccontextmanager
async def following(settings: KafkaSettings, *, bytes_max: int = 1_000) -> AsyncIterator[CompactedTopic]:
    topic = CompactedTopic(settings, Topics(settings.topic_prefix).cameras, lambda: None, bytes_max=bytes_max)
    running = asyncio.create_task(topic.run())
    try:
        yield topic
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_it_has_the_newest_committed_value_of_each_key_and_no_removed_one(settings: KafkaSettings) -> None:
    await send(settings, ("a", b"1"), ("b", b"1"), ("c", b"1"))
    last = await send(settings, ("a", b"2"), ("b", None))
    async with following(settings) as topic:
        await topic.read_on(30, behind=last)
        assert (topic.values, topic.problem) == ({"a": b"2", "c": b"1"}, None)
        await send(settings, ("a", b"9"), abort=True)
        last = await send(settings, ("c", None), ("d", b"1"))
        await topic.read_on(30, behind=last)
        assert topic.values == {"a": b"2", "d": b"1"}


async def test_who_reads_up_to_an_offset_waits_for_the_transaction_of_its_record(settings: KafkaSettings) -> None:
    """Kafka acknowledges a commit before readers see it; for this moment stands a transaction that is still open."""
    name = Topics(settings.topic_prefix).cameras
    await send(settings, ("a", b"1"))
    async with following(settings) as topic:
        await eventually(lambda: topic.values == {"a": b"1"})
        async with started(new_producer(settings, transactional_id=f"{name}.open"), settings) as producer:
            await producer.begin_transaction()
            sent = await producer.send_and_wait(name, b"2", key=b"a")
            waiting = asyncio.create_task(topic.read_on(30, behind=sent.offset))
            await topic.read_on(30)
            assert (topic.values, waiting.done()) == ({"a": b"1"}, False)
            await producer.commit_transaction()
        await waiting
        assert topic.values == {"a": b"2"}


async def test_a_topic_that_is_created_again_is_read_again(settings: KafkaSettings) -> None:
    await send(settings, ("a", b"1"))
    async with following(settings) as topic:
        await topic.read_on(30)
        async with started(new_admin(settings), settings) as admin:
            await admin.delete_topics([Topics(settings.topic_prefix).cameras])
        await eventually(lambda: ensure_again(settings))
        await send(settings, ("b", b"1"))
        await eventually(lambda: topic.values == {"b": b"1"}, timeout_s=60)
        assert topic.problem is None


async def ensure_again(settings: KafkaSettings) -> bool:
    return Topics(settings.topic_prefix).cameras in await ensure_topics(settings)


async def test_memory_is_bounded_and_what_does_not_fit_is_logged(settings: KafkaSettings) -> None:
    last = await send(settings, ("a", b"1" * 600), ("b", b"1" * 600), ("c", b"1"))
    with capture_logs() as log:
        async with following(settings) as topic:
            await topic.read_on(30, behind=last)
            assert topic.values.keys() == {"a", "c"}
            await send(settings, ("a", None))
            last = await send(settings, ("b", b"2" * 600))
            await topic.read_on(30, behind=last)
            assert topic.values.keys() == {"b", "c"}
    assert [line["key"] for line in log if line["event"] == "record_left_out"] == ["b"]
