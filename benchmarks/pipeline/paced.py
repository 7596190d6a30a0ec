"""Publishes frames at a given rate, as from cameras, and waits for their match events."""

import asyncio
import random
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from itertools import cycle

from benchmarks.consumer.runs import RunningConsumer, SeenMatch
from benchmarks.frames import FPS, camera_names, frame_record, send
from benchmarks.harness import Options
from benchmarks.kafka import Arrival
from benchmarks.triton import read_statistics, statistics_since
from framematch.core.errors import FramematchError
from framematch.core.frames import Frame
from framematch.core.kafka.clients import new_producer, started
from framematch.core.timestamps import now_us
from framematch.core.units import MS_PER_S, NS_PER_MS
from framematch.vision.triton_statistics import ModelStatistics

_SEED = 7
_JITTER = 0.1  # of a camera's interval, to either side
_DEADLINE_S = 60.0


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
    """The events of frames that were published at a rate, and Triton's statistics of the same time.

    `late_ms` is the most by which a frame was published late.
    """

    late_ms: float
    events: list[SeenMatch]
    added: ModelStatistics

    @property
    def inference_ms(self) -> float:
        """Mean time of a run of the model."""
        return (self.added.compute_ns + self.added.copy_ns) / NS_PER_MS / self.added.runs

    @property
    def mean_batch(self) -> float:
        """Pictures in a run of the model."""
        return self.added.inferences / self.added.runs


async def publish_paced(consumer: RunningConsumer, frames_per_s: float, seconds: float) -> Window:
    """Publish at a rate for so long, and wait for the events of all frames."""
    names = camera_names(consumer.kafka.partitions, consumer.kafka.partitions)
    cameras = max(1, min(round(frames_per_s / FPS), len(names)))
    due = due_times(cameras, frames_per_s, seconds, random.Random(_SEED))  # noqa: S311  # phases of cameras
    url, matches = consumer.site.triton.url, consumer.matches
    before = await read_statistics(url)
    await matches.skip_to_end()
    arrivals: list[Arrival] = []
    publishing = asyncio.create_task(_publish(consumer, [(at_s, names[camera]) for at_s, camera in due]))
    try:
        async with asyncio.timeout(seconds + _DEADLINE_S):
            while not publishing.done():
                arrivals += await matches.read()
            late_ms = publishing.result()
            while len(arrivals) < len(due):
                arrivals += await matches.read()
                consumer.service.check()
    except TimeoutError:
        raise FramematchError(f"{len(arrivals)} of {len(due)} match events arrived") from None
    finally:
        publishing.cancel()
    added = await statistics_since(url, before, pictures=len(due))
    return Window(late_ms, list(map(SeenMatch.of, arrivals)), added)


async def _publish(consumer: RunningConsumer, due: Sequence[tuple[float, str]]) -> float:
    """Publish a frame of a camera at each time, in seconds from now; returns the most by which one was late, in ms."""
    late_s = 0.0
    acknowledged: list[Awaitable[object]] = []
    async with started(new_producer(consumer.kafka), consumer.kafka) as producer:
        start_s = time.monotonic()
        for sequence, ((at_s, camera), jpeg) in enumerate(zip(due, cycle(consumer.site.jpegs), strict=False)):
            await asyncio.sleep(start_s + at_s - time.monotonic())
            late_s = max(late_s, time.monotonic() - start_s - at_s)
            record = frame_record(consumer.kafka, Frame(camera, now_us(), sequence), jpeg)
            acknowledged.append(await send(producer, record))
        await asyncio.gather(*acknowledged)
    return MS_PER_S * late_s


def backlog_frames(options: Options) -> int:
    """How many frames fill the topic."""
    return 480 if options.quick else 1_600


def window_s(options: Options) -> float:
    """How long frames are published at one rate."""
    return 4.0 if options.quick else 20.0
