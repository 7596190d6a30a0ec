"""Exactly-once delivery, for a subscriber that reads only committed records."""

import asyncio

import pytest
from aiokafka.errors import ProducerFenced

from framematch.core.cloud_events import match_headers
from framematch.core.events import encode
from framematch.core.kafka import clients
from framematch.core.kafka.clients import new_producer, started
from framematch.core.timestamps import now_us, to_rfc3339
from tests.e2e.site import Site
from tests.e2e.subscriber import subscribed
from tests.sample_events import match_event

pytestmark = pytest.mark.usefixtures("untraced_processes")


async def test_an_open_transaction_of_a_vanished_consumer_is_never_seen_and_blocks_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = await site.publish(8, cameras=1)
    [partition] = {record.partition for record in await site.read(site.topics.frames, len(frames))}
    group = site.environment["KAFKA_GROUP_ID"]
    monkeypatch.setattr(clients, "TRANSACTION_TIMEOUT_MS", 600_000)  # so that the broker does not end it by itself
    vanished = new_producer(site.kafka, transactional_id=f"{group}-{site.topics.frames}-{partition}")
    async with started(vanished, site.kafka), subscribed(site, "read_committed") as subscriber:
        await vanished.begin_transaction()
        uncommitted = match_event(camera=frames[0].camera)
        headers = match_headers(uncommitted, to_rfc3339(now_us()))
        key = frames[0].camera.encode()
        await vanished.send_and_wait(site.topics.matches, encode(uncommitted), key=key, headers=headers)
        await asyncio.to_thread(site.start, "consume", FRAMEMATCH_CONSUMER__DELIVERY="exactly_once")
        await subscriber.wait_for(lambda: len(subscriber.events) >= len(frames), "every frame has its event")
        assert [event.frame.id for event in subscriber.events] == [frame.id for frame in frames]
        with pytest.raises(ProducerFenced):
            await vanished.commit_transaction()
