"""Publishes frames at a given rate, as so many cameras would, and says when each was due."""

import asyncio
import random
import time
from collections.abc import Sequence
from itertools import count

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.frames import FPS, camera_names
from framematch.core.errors import FramematchError
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.clients import librdkafka_options
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us

_JITTER = 0.1  # of a camera's interval, to either side
_FLUSH_S = 10.0
_LOG_ERRORS = 3  # of syslog; a coordinator that is not ready yet is only a warning
_US_PER_MS = 1_000
_MS_PER_S = 1_000


def cameras_for(frames_per_s: float, most: int) -> int:
    """How many cameras at the edge's usual pace give about this rate; one at least."""
    return max(1, min(round(frames_per_s / FPS), most))


def due_times(cameras: int, frames_per_s: float, seconds: float, rng: random.Random) -> list[tuple[float, int]]:
    """When the frames of all cameras are due, in order, with the number of the camera.

    All cameras have the same pace, each its own phase, and each frame comes a little early or late.
    """
    interval_s = cameras / frames_per_s
    phases_s = [rng.uniform(0, interval_s) for _ in range(cameras)]
    return sorted(
        (max(0.0, phase_s + (number + rng.uniform(-_JITTER, _JITTER)) * interval_s), camera)
        for camera, phase_s in enumerate(phases_s)
        for number in range(int(seconds / interval_s))
    )


class PacedPublisher:
    """Publishes at once what is due: without lingering, which is a part of the edge's own latency."""

    def __init__(self, kafka: KafkaSettings, jpegs: Sequence[bytes]) -> None:
        self._producer = Producer(librdkafka_options(kafka) | {"linger.ms": 0, "log_level": _LOG_ERRORS})
        self._topic = Topics(kafka.topic_prefix).frames
        self._names = camera_names(kafka.partitions, kafka.partitions)
        self._jpegs = jpegs
        self._sequence = count()
        self._refused: list[KafkaError] = []

    @property
    def most_cameras(self) -> int:
        """Each has a partition of its own."""
        return len(self._names)

    async def run(self, due: Sequence[tuple[float, int]]) -> float:
        """Publish a frame at each of these times, in seconds from now; its capture time is when it was published.

        Returns:
            By how many milliseconds the latest was late.

        Raises:
            FramematchError: Kafka did not take them all.
        """
        began_s, late_s = time.monotonic(), 0.0
        for at_s, camera in due:
            await asyncio.sleep(max(0.0, began_s + at_s - time.monotonic()))
            late_s = max(late_s, time.monotonic() - began_s - at_s)
            self._publish(self._names[camera], next(self._sequence))
        left = await asyncio.to_thread(self._producer.flush, _FLUSH_S)
        if left or self._refused:
            raise FramematchError(f"Kafka did not take {left + len(self._refused)} of {len(due)} frames")
        return _MS_PER_S * late_s

    def _publish(self, camera: str, sequence: int) -> None:
        frame = Frame(camera, now_us(), sequence)
        self._producer.produce(
            self._topic,
            self._jpegs[sequence % len(self._jpegs)],
            camera.encode(),
            headers=list(frame_headers(frame)),
            timestamp=frame.captured_at_us // _US_PER_MS,
            on_delivery=self._note,
        )
        self._producer.poll(0)

    def _note(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error)
