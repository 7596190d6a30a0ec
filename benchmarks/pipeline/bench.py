"""A running consumer with a paced publisher before it and a subscriber behind it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.consumer.runs import Consumers, Run, SeenMatch, fill_frozen, observe, running_consumers
from benchmarks.consumer.site import Site
from benchmarks.frames import FPS, camera_names, frame_records, publish_all
from benchmarks.harness import Options
from benchmarks.kafka import Arrival, TopicReader, reading
from benchmarks.triton import Executions, executions_since, read_executions
from framematch.core.errors import FramematchError
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us
from framematch.core.units import MS_PER_S, US_PER_MS

_SEED = 7
_JITTER = 0.1  # of a camera's interval, to either side
_FLUSH_S = 10.0
_DEADLINE_S = 60.0
_LOG_ERRORS = 3  # librdkafka's level


def due_times(cameras: int, frames_per_s: float, seconds: float, rng: random.Random) -> list[tuple[float, int]]:
    """When the frames of all cameras are due, in order, with the number of the camera.

    All cameras have the same rate, each its own phase, and each frame comes a little early or late.
    """
    interval_s = cameras / frames_per_s
    phases_s = [rng.uniform(0, interval_s) for _ in range(cameras)]
    return sorted(
        (max(0.0, phase_s + (number + rng.uniform(-_JITTER, _JITTER)) * interval_s), camera)
        for camera, phase_s in enumerate(phases_s)
        for number in range(int(seconds / interval_s))
    )


class PacedPublisher:
    """Publishes each frame when it is due. It does not linger: that is part of the edge's latency."""

    def __init__(self, kafka: KafkaSettings, jpegs: Sequence[bytes]) -> None:
        options = {"bootstrap.servers": kafka.bootstrap_servers, "acks": "all", "enable.idempotence": True}
        self._producer = Producer(options | {"partitioner": "murmur2_random", "linger.ms": 0, "log_level": _LOG_ERRORS})
        self._topic = Topics(kafka.topic_prefix).frames
        self._names = camera_names(kafka.partitions, kafka.partitions)
        self._jpegs = jpegs
        self._sequence = count()
        self._refused: list[KafkaError] = []

    async def run(self, due: Sequence[tuple[float, int]]) -> float:
        """Publish a frame at each of these times, in seconds from now; its capture time is when it is published.

        Returns:
            By how many milliseconds the latest was late.
        """
        start_s, late_s = time.monotonic(), 0.0
        for at_s, camera in due:
            await asyncio.sleep(max(0.0, start_s + at_s - time.monotonic()))
            late_s = max(late_s, time.monotonic() - start_s - at_s)
            self._publish(self._names[camera], next(self._sequence))
        left = await asyncio.to_thread(self._producer.flush, _FLUSH_S)
        if left or self._refused:
            raise FramematchError(f"Kafka did not take {left + len(self._refused)} of {len(due)} frames")
        return MS_PER_S * late_s

    def _publish(self, camera: str, sequence: int) -> None:
        frame = Frame(camera, now_us(), sequence)
        self._producer.produce(
            self._topic,
            self._jpegs[sequence % len(self._jpegs)],
            camera.encode(),
            headers=list(frame_headers(frame)),
            timestamp=frame.captured_at_us // US_PER_MS,
            on_delivery=self._delivered,
        )
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error)


@dataclass(frozen=True)
class Window:
    """The events of frames that were published at a rate; `late_ms` is by how much the publisher was late at most."""

    late_ms: float
    events: list[SeenMatch]
    executions: Executions


@dataclass(frozen=True)
class Bench:
    """One consumer, with a publisher and a subscriber."""

    site: Site
    kafka: KafkaSettings
    consumers: Consumers
    matches: TopicReader
    publisher: PacedPublisher

    async def backlog(self, options: Options) -> Run:
        """Let it process a topic that is full: the rate is its capacity."""
        frames = backlog_frames(options)
        await self.matches.skip_to_end()
        await fill_frozen(self.site, self.kafka, self.consumers, frames)
        return await observe(self.matches, self.consumers, frames)

    async def window(self, frames_per_s: float, seconds: float) -> Window:
        """Publish at a rate for so long, and wait until every frame is answered."""
        cameras = max(1, min(round(frames_per_s / FPS), self.kafka.partitions))  # with about the edge's rate
        due = due_times(cameras, frames_per_s, seconds, random.Random(_SEED))  # noqa: S311  # phases of cameras
        before = await read_executions(self.site.triton.url)
        await self.matches.skip_to_end()
        arrivals: list[Arrival] = []
        publishing = asyncio.create_task(self.publisher.run(due))
        try:
            while not publishing.done():
                arrivals += await self.matches.read()
            late_ms = publishing.result()
            async with asyncio.timeout(_DEADLINE_S):
                while len(arrivals) < len(due):
                    await asyncio.to_thread(self.consumers.check)
                    arrivals += await self.matches.read()
        except TimeoutError:
            raise FramematchError(f"{len(arrivals)} of {len(due)} match events arrived") from None
        finally:
            publishing.cancel()
        executions = await executions_since(self.site.triton.url, before, pictures=len(due))
        return Window(late_ms, list(map(SeenMatch.of, arrivals)), executions)


def backlog_frames(options: Options) -> int:
    """How many frames fill the topic."""
    return 480 if options.quick else 1_600


def window_s(options: Options) -> float:
    """How long frames are published at one rate."""
    return 4.0 if options.quick else 20.0


@asynccontextmanager
async def running_bench(site: Site, kafka: KafkaSettings, **settings: str) -> AsyncIterator[Bench]:
    """A consumer on topics of its own that has processed each picture once; `settings` are environment variables."""
    await publish_all(kafka, frame_records(kafka, site.jpegs, len(site.jpegs)))
    async with reading(kafka, Topics(kafka.topic_prefix).matches) as matches:
        with running_consumers(site.environment(kafka, **settings), site.folder) as consumers:
            await matches.read_all(len(site.jpegs), consumers.check)
            yield Bench(site, kafka, consumers, matches, PacedPublisher(kafka, site.jpegs))
            consumers.stop()
