"""Publishes frames at a given rate, as from cameras, and waits for their match events."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.consumer.runs import ConsumerGroup, SeenMatch
from benchmarks.frames import FPS, camera_names
from benchmarks.harness import Options
from benchmarks.kafka import Arrival
from benchmarks.triton import Executions, executions_since, read_executions
from framematch.core.errors import FramematchError
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.topics import Topics
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


@dataclass(frozen=True)
class Window:
    """The events of frames that were published at a rate; `late_ms` is by how much the publisher was late at most."""

    late_ms: float
    events: list[SeenMatch]
    executions: Executions


class PacedPublisher:
    """Publishes each frame when it is due. It does not linger: that is part of the edge's latency."""

    def __init__(self, consumers: ConsumerGroup) -> None:
        kafka = consumers.kafka
        options = {"bootstrap.servers": kafka.bootstrap_servers, "acks": "all", "enable.idempotence": True}
        self._producer = Producer(options | {"partitioner": "murmur2_random", "linger.ms": 0, "log_level": _LOG_ERRORS})
        self._consumers = consumers
        self._topic = Topics(kafka.topic_prefix).frames
        self._names = camera_names(kafka.partitions, kafka.partitions)
        self._sequence = count()
        self._refused: list[KafkaError] = []

    async def window(self, frames_per_s: float, seconds: float) -> Window:
        """Publish at a rate for so long, and wait until every frame is answered."""
        cameras = max(1, min(round(frames_per_s / FPS), len(self._names)))
        due = due_times(cameras, frames_per_s, seconds, random.Random(_SEED))  # noqa: S311  # phases of cameras
        url, matches = self._consumers.site.triton.url, self._consumers.matches
        before = await read_executions(url)
        await matches.skip_to_end()
        arrivals: list[Arrival] = []
        publishing = asyncio.create_task(self._run(due))
        try:
            while not publishing.done():
                arrivals += await matches.read()
            late_ms = publishing.result()
            async with asyncio.timeout(_DEADLINE_S):
                while len(arrivals) < len(due):
                    await asyncio.to_thread(self._consumers.check)
                    arrivals += await matches.read()
        except TimeoutError:
            raise FramematchError(f"{len(arrivals)} of {len(due)} match events arrived") from None
        finally:
            publishing.cancel()
        executions = await executions_since(url, before, pictures=len(due))
        return Window(late_ms, list(map(SeenMatch.of, arrivals)), executions)

    async def _run(self, due: Sequence[tuple[float, int]]) -> float:
        """Publish a frame at each of these times, in seconds from now; returns by how many ms the latest was late."""
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
        frame, jpegs = Frame(camera, now_us(), sequence), self._consumers.site.jpegs
        self._producer.produce(
            self._topic,
            jpegs[sequence % len(jpegs)],
            camera.encode(),
            headers=list(frame_headers(frame)),
            timestamp=frame.captured_at_us // US_PER_MS,
            on_delivery=self._delivered,
        )
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error)


def backlog_frames(options: Options) -> int:
    """How many frames fill the topic."""
    return 480 if options.quick else 1_600


def window_s(options: Options) -> float:
    """How long frames are published at one rate."""
    return 4.0 if options.quick else 20.0
