"""The event stream over a real Kafka: nothing is lost or repeated, whatever happens to clients and brokers."""

import asyncio
import random
import uuid
from collections import Counter
from contextlib import suppress

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from framematch.api.stream import follower, reader
from framematch.core.events import encode
from framematch.core.kafka.clients import client_options, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.stack.kafka import KafkaServer
from tests.event_stream import SseEvent, StreamClient, stream_app
from tests.sample_events import match_event, sighting_event
from tests.support import eventually

pytestmark = pytest.mark.integration

CAMERAS = ("till-1", "till-2", "till-3", "till-4")


class Site:
    """Topics for a test."""

    def __init__(self, kafka: KafkaServer) -> None:
        self.prefix = f"stream-{uuid.uuid4().hex[:8]}"
        self.settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=self.prefix, partitions=3)
        self.topics = Topics(self.prefix)

    async def create(self) -> None:
        await ensure_topics(self.settings)

    def producer(self) -> AIOKafkaProducer:
        return new_producer(self.settings)

    async def publish(self, producer: AIOKafkaProducer, numbers: range) -> None:
        """Matches of several cameras, and some sightings, with the numbers as ids."""
        for number in numbers:
            camera = CAMERAS[number % len(CAMERAS)]
            event = match_event(number, camera=camera) if number % 4 else sighting_event(camera=camera, seen_us=number)
            topic = self.topics.matches if number % 4 else self.topics.sightings
            value = msgspec.json.encode({**msgspec.json.decode(encode(event)), "id": str(number)})
            await producer.send(topic, value, key=camera.encode(), partition=number % self.settings.partitions)
        await producer.flush()

    async def delete_below(self, topic: str, offset: int) -> None:
        """As retention does in its time."""
        async with started(AIOKafkaAdminClient(**client_options(self.settings)), self.settings) as admin:
            places = [TopicPartition(topic, number) for number in range(self.settings.partitions)]
            await admin.delete_records(dict.fromkeys(places, RecordsToDelete(before_offset=offset)))


def ids(events: list[SseEvent]) -> list[str]:
    return [msgspec.json.decode(event.data)["id"] for event in events if event.type in {"match", "sighting"}]


@pytest.fixture
async def site(kafka: KafkaServer) -> Site:
    site = Site(kafka)
    await site.create()
    return site


async def test_after_a_thousand_reconnects_at_two_processes_the_ids_seen_are_the_ids_published(site: Site) -> None:
    chance, total = random.Random(39), 2_000  # noqa: S311  # hides nothing
    async with (
        stream_app(site.settings, stream_ring_mb=0.3) as (one, _),
        stream_app(site.settings, stream_ring_mb=1.0) as (other, _),
        started(site.producer(), site.settings) as producer,
    ):
        async with StreamClient(one) as client:
            await client.until(lambda: client.parser.last_id)
            last_id = client.parser.last_id

        async def publish() -> None:
            for first in range(0, total, 100):
                await site.publish(producer, range(first, first + 100))
                await asyncio.sleep(0.03)

        publishing = asyncio.ensure_future(publish())
        seen: list[str] = []
        connections = 0
        while len(seen) < total or connections < 1_000:
            connections += 1
            client = StreamClient(chance.choice((one, other)), headers={"Last-Event-ID": last_id})
            client.cut_after(chance.randrange(100, 12_000))
            async with client:
                waiting = client.until(client.gone.is_set, timeout_s=0.2)
                if len(seen) >= total:
                    waiting.close()
                else:
                    with suppress(TimeoutError):
                        await waiting
            seen += ids(client.events)
            last_id = client.parser.last_id or last_id
        await publishing
    assert Counter(seen) == Counter(str(number) for number in range(total))


async def test_what_kafka_has_deleted_is_a_gap_and_all_the_rest_comes(site: Site) -> None:
    async with started(site.producer(), site.settings) as producer:
        async with stream_app(site.settings) as (app, _), StreamClient(app) as client:
            await client.until(lambda: client.parser.last_id)
            start = client.parser.last_id
        await site.publish(producer, range(60))
        await site.delete_below(site.topics.matches, 5)
        async with (
            stream_app(site.settings) as (app, _),
            StreamClient(app, headers={"Last-Event-ID": start}) as client,
        ):
            await client.until(lambda: len(ids(client.events)) + 15 >= 60)
            gaps = [msgspec.json.decode(event.data) for event in client.events if event.type == "gap"]
    assert {(gap["type"], gap["from"], gap["to"], gap["count"]) for gap in gaps} == {("match", 0, 5, 5)}
    assert len(ids(client.events)) + sum(gap["count"] for gap in gaps) == 60


async def test_a_stream_since_a_time_begins_with_what_was_published_then(site: Site) -> None:
    async with started(site.producer(), site.settings) as producer:
        await site.publish(producer, range(8))
        since = to_rfc3339(now_us() + 2_000)
        await eventually(lambda: to_rfc3339(now_us()) > since)
        await site.publish(producer, range(8, 16))
        async with stream_app(site.settings) as (app, _), StreamClient(app, f"since={since}") as client:
            await client.take(8)
    assert sorted(ids(client.events), key=int) == [str(number) for number in range(8, 16)]


async def test_transactions_leave_no_gap_and_no_event_of_an_aborted_one(site: Site) -> None:
    async def transact(number: int, *, commit: bool) -> None:
        producer = new_producer(site.settings, transactional_id=site.prefix)
        async with started(producer, site.settings):
            await producer.begin_transaction()
            await site.publish(producer, range(number, number + 4))
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    async with stream_app(site.settings) as (app, _), StreamClient(app) as client:
        await client.until(lambda: client.parser.last_id)
        start = client.parser.last_id
        for number in range(0, 16, 4):
            await transact(number, commit=number != 8)
        await client.take(12)
    async with (
        stream_app(site.settings) as (later, _),
        StreamClient(later, headers={"Last-Event-ID": start}) as again,
    ):
        await again.take(12)
    expected = {str(number) for number in range(16) if not 8 <= number < 12}
    assert set(ids(client.events)) == set(ids(again.events)) == expected
    assert len(client.events) == len(again.events) == 12


async def test_a_topic_that_is_recreated_is_a_reset_and_its_events_come(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_CHECK_INTERVAL_S", 0.2)
    async with stream_app(site.settings) as (app, _), StreamClient(app, "types=match") as client:
        await client.until(lambda: client.parser.last_id)
        async with started(site.producer(), site.settings) as producer:
            await site.publish(producer, range(8))
        await client.take(6)
        former = client.parser.last_id
        async with started(AIOKafkaAdminClient(**client_options(site.settings)), site.settings) as admin:
            await admin.delete_topics([site.topics.matches])
            await eventually(lambda: _gone(admin, site.topics.matches))
        await ensure_topics(site.settings)
        async with started(site.producer(), site.settings) as producer:
            await site.publish(producer, range(8, 16))
        await client.until(lambda: len(ids(client.events)) == 12)
        assert [event.type for event in client.events].count("reset") == 1
        async with StreamClient(app, "types=match", {"Last-Event-ID": former}) as again:
            await again.take(7)
            assert [event.type for event in again.events] == ["reset", *["match"] * 6]
            assert sorted(ids(again.events)) == sorted(ids(client.events[-6:]))


async def _gone(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return topic not in await admin.list_topics()


async def test_partitions_that_are_added_are_read_from_their_first_event(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_CHECK_INTERVAL_S", 0.2)
    async with stream_app(site.settings) as (app, hub), StreamClient(app, "types=match") as client:
        await client.until(lambda: client.parser.last_id)
        start = client.parser.last_id
        async with started(AIOKafkaAdminClient(**client_options(site.settings)), site.settings) as admin:
            await admin.create_partitions({site.topics.matches: NewPartitions(6)})
        async with started(site.producer(), site.settings) as producer:
            for partition in range(6):
                value = encode(match_event(partition))
                await producer.send_and_wait(site.topics.matches, value, key=b"till-1", partition=partition)
        await client.take(6)
        assert hub.ring.positions.offsets[0] == [1] * 6
        async with StreamClient(app, "types=match", {"Last-Event-ID": start}) as again:
            await again.take(6)
    assert {one.data for one in again.events} == {one.data for one in client.events}


async def test_while_the_broker_is_away_streams_stay_open_and_then_go_on_without_loss(
    breakable_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "PING_S", 0.2)
    monkeypatch.setattr(follower, "_WAIT_S", 0.1)
    site = Site(breakable_kafka)
    await site.create()
    async with stream_app(site.settings) as (app, _), StreamClient(app) as client:
        await client.until(lambda: client.parser.last_id)
        start = client.parser.last_id
        async with started(site.producer(), site.settings) as producer:
            await site.publish(producer, range(10))
        await client.take(10)
        breakable_kafka.kill()
        pings = len(client.parser.comments)
        await client.until(lambda: len(client.parser.comments) > pings + 2)
        await asyncio.to_thread(breakable_kafka.start)
        async with started(site.producer(), site.settings) as producer:
            await site.publish(producer, range(10, 20))
        await client.take(20)
        async with StreamClient(app, headers={"Last-Event-ID": start}) as again:
            await again.take(20)
    assert Counter(ids(client.events)) == Counter(ids(again.events)) == Counter(map(str, range(20)))
