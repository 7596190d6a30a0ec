"""An archive between a real Kafka and a real MongoDB, in this process or in one of its own."""

import asyncio
import json
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from framematch.archive.service import run_archive
from framematch.catalog.mongo import Database, connect
from framematch.core.events import LogEvent, MatchEvent, SightingEvent, encode
from framematch.core.kafka.clients import new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.settings import ArchiveSettings, KafkaSettings, MongoSettings, Settings
from tests.preloaded.process import PreloadedProcess, start

Event = MatchEvent | SightingEvent | LogEvent | bytes | None


class ArchiveSite:
    """Topics and a database of the test's own."""

    def __init__(self, kafka_address: str, mongodb_uri: str, **archive: Any) -> None:
        self.name = f"archive-{uuid.uuid4().hex[:8]}"
        kafka = {"bootstrap_servers": kafka_address, "topic_prefix": self.name, "partitions": 2}
        mongo = {"uri": mongodb_uri, "database": self.name, "timeout_s": 2.0}
        own = {"group_id": self.name, "batch_window_ms": 20.0, **archive}
        self.settings = Settings(
            kafka=KafkaSettings(**kafka), mongodb=MongoSettings(**mongo), archive=ArchiveSettings(**own)
        )
        self.topics = Topics(self.name)

    async def publish(self, topic: str, *events: Event) -> None:
        """Publish events, or bytes that are none, each to the partition of its camera."""
        kafka = self.settings.kafka
        await ensure_topics(kafka)
        async with started(new_producer(kafka), kafka) as producer:
            sending = [
                await producer.send(topic, event if event is None or isinstance(event, bytes) else encode(event),
                                    key=_key(event))
                for event in events
            ]  # fmt: skip
            await asyncio.gather(*sending)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """The database that the archive writes to."""
        uri = self.settings.mongodb.uri
        assert uri is not None
        async with await connect(uri.get_secret_value()) as client:
            yield client[self.name]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """An archive in this process; at the end it finishes its batch."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(run_archive(self.settings, stop))
            try:
                yield
            finally:
                stop.set()

    @contextmanager
    def process(self, log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes] | PreloadedProcess]:
        """An archive in a process of its own, which logs to this file."""
        kafka, mongo, own = self.settings.kafka, self.settings.mongodb, self.settings.archive
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers),
            "FRAMEMATCH_KAFKA__TOPIC_PREFIX": self.name,
            "FRAMEMATCH_KAFKA__PARTITIONS": str(kafka.partitions),
            "MONGODB_URI": mongo.uri.get_secret_value() if mongo.uri else "",
            "FRAMEMATCH_MONGODB__DATABASE": self.name,
            "FRAMEMATCH_ARCHIVE__GROUP_ID": own.group_id,
            **variables,
        }
        with (
            log.open("ab") as file,
            start(
                "archive", environment=os.environ | environment,
                stdin=file.fileno(), stdout=file.fileno(), stderr=file.fileno(),
            ) as process,
        ):  # fmt: skip
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)


def _key(event: Event) -> bytes:
    match event:
        case MatchEvent():
            return event.frame.camera.encode()
        case SightingEvent():
            return event.camera.encode()
        case LogEvent():
            return event.service.encode()
    return b"till-1"


def logged(log: Path) -> list[dict[str, Any]]:
    """The lines of the log, which are all JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]
