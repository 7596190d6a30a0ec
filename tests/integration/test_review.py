"""Pictures of decided regions between a real Kafka and a real MongoDB: kept once, labelled, and used as samples."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from typer.testing import CliRunner, Result

from framematch.catalog.mongo import Database, connect
from framematch.catalog.samples.store import SampleStore
from framematch.cli.app import app
from framematch.core.errors import UsageError
from framematch.core.events import MatchEvent, encode
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.clients import new_admin, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import KafkaSettings, MongoSettings, ReviewSettings, Settings
from framematch.review.service import run_collect
from framematch.stack.kafka import KafkaServer
from framematch.stack.mongodb import MongoServer
from tests.sample_events import AT_US, match_event
from tests.support import eventually

pytestmark = pytest.mark.integration

MINUTE_US = 60_000_000
STRANGER = 3  # the number of the event that is unknown


class ReviewSite:
    """Topics and a database of the test's own."""

    def __init__(self, kafka_address: str, mongodb_uri: str, **review: Any) -> None:
        name = f"review-{uuid.uuid4().hex[:8]}"
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=kafka_address, topic_prefix=name, partitions=1),
            mongodb=MongoSettings(uri=mongodb_uri, database=name),
            review=ReviewSettings(group_id=name, **review),
        )
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka_address,
            "FRAMEMATCH_KAFKA__TOPIC_PREFIX": name,
            "FRAMEMATCH_KAFKA__PARTITIONS": "1",
            "MONGODB_URI": mongodb_uri,
            "FRAMEMATCH_MONGODB__DATABASE": name,
            "FRAMEMATCH_REVIEW__GROUP_ID": name,
            "FRAMEMATCH_REVIEW__PER_CAMERA_HOUR": str(self.settings.review.per_camera_hour),
        }
        self.topics = Topics(name)

    async def publish(self, numbers: range) -> list[MatchEvent]:
        """A frame a minute, and the event of its left half."""
        kafka, events = self.settings.kafka, []
        await ensure_topics(kafka)
        async with started(new_producer(kafka), kafka) as producer:
            for number in numbers:
                at_us = AT_US + number * MINUTE_US
                frame = Frame("till-1", at_us, number, grabbed_at_us=at_us)
                jpeg = simplejpeg.encode_jpeg(np.full((20, 20, 3), number, np.uint8))
                key, headers = b"till-1", frame_headers(frame)
                sent = await producer.send_and_wait(self.topics.frames, jpeg, key=key, headers=headers)
                decision: Any = "unknown" if number == STRANGER else "match"
                event = match_event(number, at_us=at_us, decision=decision, score=0.4 if number == STRANGER else 0.9)
                event = replace(event, frame=replace(event.frame, topic=self.topics.frames, offset=sent.offset))
                await producer.send_and_wait(self.topics.matches, encode(event), key=key)
                events.append(event)
        return events

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        uri = self.settings.mongodb.uri
        assert uri is not None
        async with await connect(uri.get_secret_value()) as client:
            yield client[self.settings.mongodb.database]

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """A collector in a process of its own, which is killed at the end."""
        command = [sys.executable, "-m", "framematch", "calibration", "collect", "--once"]
        environment = os.environ | self.environment
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    async def collect(self) -> None:
        await run_collect(self.settings, asyncio.Event(), once=True)


@pytest.fixture
def site(kafka: KafkaServer, mongodb: MongoServer) -> ReviewSite:
    return ReviewSite(kafka.bootstrap_servers, mongodb.uri)


async def kept_ids(database: Database) -> set[str]:
    return {one["_id"] for one in await database.review.find({}, {"_id": 1}).to_list()}


async def test_kept_pictures_are_labelled_by_commands_and_become_samples(
    site: ReviewSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events = await site.publish(range(6))
    async with site.database() as database:
        await database.products.insert_one({"_id": "milk", "name": "Milk", "views": []})
        async with started(new_admin(site.settings.kafka), site.settings.kafka) as admin:
            await admin.delete_records({TopicPartition(site.topics.frames, 0): RecordsToDelete(before_offset=1)})
        await site.collect()
        assert await kept_ids(database) == {event.id for event in events[1:]}  # Kafka has deleted the first frame
        for name, value in site.environment.items():
            monkeypatch.setenv(name, value)

        async def review(*arguments: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, app, ["calibration", "review", *arguments])

        listed = await review("list", "--sheet", str(tmp_path / "sheet.jpg"))
        assert listed.stdout.count("match") == 4
        assert (tmp_path / "sheet.jpg").stat().st_mode & 0o077 == 0
        assert (await review("confirm", events[1].id, events[2].id[:12])).stdout == "2 pictures labelled\n"
        assert (await review("confirm", events[1].id)).stdout == "1 picture unchanged\n"
        assert (await review("stranger", events[STRANGER].id)).stdout == "1 picture labelled\n"
        assert (await review("nothing", events[4].id)).stdout == "1 picture labelled\n"
        assert (await review("stranger", events[4].id)).stdout == "1 picture relabelled\n"
        assert (await review("discard", events[2].id)).stdout == "1 picture discarded\n"
        wrong = await review("confirm", events[5].id, "--product", "oats")
        assert isinstance(wrong.exception, UsageError)
        assert wrong.exception.message == "the catalogue has no product 'oats'"

        samples = [sample async for sample in SampleStore(database).read()]
        found = sorted((one.label, one.product_id, one.source, one.camera) for one in samples)
        assert found == [
            ("product", "milk", "reviewed", "till-1"),
            ("stranger", None, "reviewed", "till-1"),
            ("stranger", None, "reviewed", "till-1"),
        ]
        waiting = await review("list", "--json")
        assert [events[5].id in line for line in waiting.stdout.splitlines()] == [True]


async def test_a_collector_that_is_killed_keeps_nothing_twice_and_loses_nothing(
    kafka: KafkaServer, mongodb: MongoServer
) -> None:
    site = ReviewSite(kafka.bootstrap_servers, mongodb.uri, per_camera_hour=30)
    events = await site.publish(range(40))
    async with site.database() as database:
        with site.process() as process:

            async def some() -> bool:
                return bool(await kept_ids(database)) or process.poll() is not None

            await eventually(some, message="a picture is kept")
        before = await kept_ids(database)
        await site.collect()
        after = await kept_ids(database)
        assert (len(before) > 0, len(after)) == (True, 30)
        assert after <= {event.id for event in events}
        await site.collect()
        assert await kept_ids(database) == after
