"""Exactly once, as a subscriber sees it who reads committed records alone."""

import asyncio

import pytest
from aiokafka.errors import ProducerFenced

from framematch.core.events import encode, match_headers
from framematch.core.kafka import clients
from framematch.core.kafka.clients import new_producer, started
from framematch.core.timestamps import now_us, to_rfc3339
from tests.e2e.site import Site
from tests.e2e.watcher import watching
from tests.sample_events import match_event


async def test_what_a_vanished_consumer_did_not_commit_is_never_seen_and_holds_nothing_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = await site.publish(8, cameras=1)
    [partition] = {record.partition for record in await site.read(site.topics.frames, len(frames))}
    group = site.environment["KAFKA_GROUP_ID"]
    monkeypatch.setattr(clients, "TRANSACTION_TIMEOUT_MS", 600_000)  # so that the broker does not end it by itself
    vanished = new_producer(site.kafka, transactional_id=f"{group}-{site.topics.frames}-{partition}")
    async with started(vanished, site.kafka), watching(site, "read_committed") as watcher:
        await vanished.begin_transaction()
        half_done = match_event(camera=frames[0].camera)
        headers = match_headers(half_done, to_rfc3339(now_us()))
        key = frames[0].camera.encode()
        await vanished.send_and_wait(site.topics.matches, encode(half_done), key=key, headers=headers)
        await asyncio.to_thread(site.start, "consume", FRAMEMATCH_CONSUMER__DELIVERY="exactly_once")
        await watcher.until(lambda: len(watcher.events) >= len(frames), "every frame is answered")
        assert [event.frame.id for event in watcher.events] == [frame.id for frame in frames]
        with pytest.raises(ProducerFenced):
            await vanished.commit_transaction()
