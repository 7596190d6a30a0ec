"""The event stream over a real Kafka: nothing is lost or repeated, whatever happens to clients and brokers."""

import asyncio
import random
import uuid
from collections import Counter
from contextlib import suppress

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from framematch.core.events import encode
from framematch.core.kafka.clients import client_options, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from tests.event_stream import SseEvent, StreamClient, stream_app
from tests.sample_events import match_event, sighting_event

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
            await producer.send(topic, value, key=camera.encode())
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
    chance, total = random.Random(39), 3_000  # noqa: S311  # hides nothing
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
