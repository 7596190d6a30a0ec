"""The cameras as the API knows them: both topics in memory, and changes to the wanted ones."""

import asyncio
from collections.abc import Callable, Mapping

from framematch.api.cameras.changes import Draft, wanted_from
from framematch.api.cameras.view import CameraView, join
from framematch.api.cameras.writer import CameraWriter
from framematch.api.problems import Problem
from framematch.core.camera_settings import encode_wanted
from framematch.core.health import Health
from framematch.core.kafka.compacted_topic import CompactedTopic
from framematch.core.kafka.topics import Topics
from framematch.core.sealing import SourceSeal
from framematch.core.settings import Settings

HEALTH_PART = "cameras"

Decide = Callable[[CameraView | None], Draft | None]
"""Makes of a camera what it is to be, None to remove it, or raises a Problem."""


class CameraDirectory:
    """Knows all cameras, wanted and reported, while `run` runs; for the event loop alone.

    It works without Kafka's address too: then it answers every question with a problem.
    """

    def __init__(self, settings: Settings, health: Health) -> None:
        kafka, topics = settings.kafka, Topics(settings.kafka.topic_prefix)
        self._health = health
        self._has_kafka = kafka.bootstrap_servers is not None
        self._seal = SourceSeal(settings.cameras_key) if settings.cameras_key else None
        self._wanted = CompactedTopic(kafka, topics.cameras, self._forget)
        self._statuses = CompactedTopic(kafka, topics.status, self._forget)
        self._writer = CameraWriter(kafka, topics.cameras, self._wanted, timeout_s=settings.api.request_timeout_s)
        self._joined: dict[str, CameraView] | None = None
        health.set_ready(HEALTH_PART)  # matching does not need them
        self._update_note()

    async def run(self) -> None:
        """Read both topics; endless."""
        if not self._has_kafka:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wanted.run())
            group.create_task(self._statuses.run())
            while True:
                self._update_note()
                await asyncio.sleep(1.0)

    async def close(self) -> None:
        """Disconnect the writer."""
        await self._writer.close()

    @property
    def note(self) -> str | None:
        """Why what is known may be old; None while it is not."""
        if not self._has_kafka:
            return "kafka.bootstrap_servers is not set"
        return self._wanted.problem or self._statuses.problem

    def all(self) -> Mapping[str, CameraView]:
        """All cameras by id, in order.

        Raises:
            Problem: Kafka has not been read yet (503).
        """
        if not (self._has_kafka and self._wanted.complete and self._statuses.complete):
            raise Problem(
                503, "cameras_unknown", f"the cameras are not known yet: {self.note}",
                hint="Try again soon, or check Kafka", headers={"Retry-After": "2"},
            )  # fmt: skip
        if self._joined is None:
            self._joined = join(self._wanted.values, self._statuses.values)
        return self._joined

    async def change(self, camera: str, decide: Decide) -> CameraView | None:
        """Change a wanted camera, or remove it; returns it as it is then, None when it is not known any more.

        Raises:
            Problem: what `decide` raises, or the settings or the source are not possible.
            KafkaUnavailableError: Kafka did not acknowledge it.
        """
        self.all()

        def record(_before: bytes | None, generation: int) -> bytes | None:
            self._forget()
            present = self.all().get(camera)
            draft = decide(present)
            if draft is None:
                return None
            before = present.wanted if present is not None else None
            return encode_wanted(wanted_from(camera, draft, before, self._seal, generation))

        await self._writer.change(camera, record)
        self._forget()
        return self.all().get(camera)

    def _forget(self) -> None:
        self._joined = None

    def _update_note(self) -> None:
        self._health.set_note(HEALTH_PART, self.note)
