"""One test's own installation: its topics, its consumer group, and the services that it starts."""

import json
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from aiokafka import ConsumerRecord

from demo.dataset import DATA_DIR, load_photos
from demo.services import Service, running_service, service_environment
from framematch.core.events import MatchEvent, decode
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.clients import new_consumer, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.local_stack import LocalStack
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us
from tests.e2e.contract import validate
from tests.preloaded.process import PreloadedServer
from tests.support import eventually

DEADLINE_S = 90.0


class Site:
    """An installation with its own topic prefix; services are stopped at the end of the context."""

    def __init__(self, servers: LocalStack, folder: Path, prefix: str) -> None:
        self.folder = folder
        self.topics = Topics(prefix)
        self.kafka = KafkaSettings(bootstrap_servers=servers.kafka_bootstrap_servers, topic_prefix=prefix, partitions=4)
        self.environment = {
            **service_environment(folder / "state", servers),
            "FRAMEMATCH_KAFKA__TOPIC_PREFIX": prefix,
            "FRAMEMATCH_KAFKA__PARTITIONS": "4",
            "KAFKA_GROUP_ID": prefix,
            "FRAMEMATCH_CONSUMER__BATCH_SIZE": "8",
            "FRAMEMATCH_CONSUMER__COMMIT_INTERVAL_S": "0.2",
        }
        self._services = ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._services.close()

    def start(self, *arguments: str, ready: bool = True, **environment: str) -> Service:
        """Start `framematch …` as a process."""
        self._started += 1
        logs = self.folder / str(self._started)
        context = running_service(
            *arguments, environment={**self.environment, **environment}, logs=logs, start=PreloadedServer
        )
        service = self._services.enter_context(context)
        if ready:
            service.wait_ready(DEADLINE_S)
        return service

    def log(self) -> str:
        """The log of all services of this site so far."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*/*.log")))

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The fields of each log line with this event, of all services of this site."""
        return log_lines(self.log(), event)

    async def publish(
        self, count: int, cameras: int = 4, payloads: dict[int, bytes] | None = None, age_s: int = 0
    ) -> list[Frame]:
        """Publish `count` frames of demo photos, from the cameras in turn; `payloads` replaces some, by number."""
        captured_at_us = now_us() - age_s * 1_000_000
        frames = [Frame(f"till-{n % cameras}", captured_at_us + n, n // cameras) for n in range(count)]
        await self.send(frames, payloads)
        return frames

    async def send(self, frames: list[Frame], payloads: dict[int, bytes] | None = None) -> None:
        """Publish these frames, with demo photos or `payloads`, by number."""
        await ensure_topics(self.kafka)
        pictures = [(DATA_DIR / photo.file).read_bytes() for photo in load_photos()]
        async with started(new_producer(self.kafka), self.kafka) as producer:
            for number, frame in enumerate(frames):
                value = (payloads or {}).get(number, pictures[number % len(pictures)])
                key, headers = frame.camera.encode(), frame_headers(frame)
                await producer.send(self.topics.frames, value, key=key, headers=headers)
            await producer.flush()

    async def read(self, topic: str, count: int, *, timeout_s: float = DEADLINE_S) -> list[ConsumerRecord]:
        """Return the records of a topic once there are at least `count`."""
        await ensure_topics(self.kafka)
        records: list[ConsumerRecord] = []
        consumer = new_consumer(self.kafka, topic, auto_offset_reset="earliest")
        async with started(consumer, self.kafka):

            async def received() -> bool:
                found = await consumer.getmany(timeout_ms=100)
                records.extend(record for part in found.values() for record in part)
                return len(records) >= count

            await eventually(received, timeout_s=timeout_s, message=f"{count} records in {topic}")
        for record in records:
            validate(record, self.topics)
        return records

    async def events(self, frames: list[Frame], *, timeout_s: float = DEADLINE_S) -> list[MatchEvent]:
        """Return all match events, including repeats, once each of `frames` has one."""
        missing = {frame.id for frame in frames}
        events: list[MatchEvent] = []
        consumer = new_consumer(self.kafka, self.topics.matches, auto_offset_reset="earliest")
        async with started(consumer, self.kafka):

            async def complete() -> bool:
                for part in (await consumer.getmany(timeout_ms=100)).values():
                    for record in part:
                        validate(record, self.topics)
                        events.append(decode(record.value, MatchEvent))
                missing.difference_update(event.frame.id for event in events)
                return not missing

            await eventually(complete, timeout_s=timeout_s, message="an event for every frame")
        return events


def unique_prefix() -> str:
    """A prefix for the topics and the consumer group of one test."""
    return f"e2e-{uuid.uuid4().hex[:8]}"


def log_lines(log: str, event: str) -> list[dict[str, Any]]:
    """The fields of each line with this event in a service's JSON log."""
    lines = (json.loads(line) for line in log.splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


def sequences(events: list[MatchEvent], camera: str) -> list[int]:
    """The sequence numbers of a camera's events in topic order, without repeats."""
    return list(dict.fromkeys(event.frame.sequence for event in events if event.frame.camera == camera))
