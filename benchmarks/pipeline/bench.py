"""A running consumer with a paced publisher before it and a subscriber behind it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.bare_triton import Executions, executions_since, read_executions
from benchmarks.consumer.matches import Matches, watching_matches
from benchmarks.consumer.processes import Consumers, running_consumers
from benchmarks.consumer.run import Run, fill_frozen, observe
from benchmarks.consumer.site import Site
from benchmarks.frames import prefill
from benchmarks.pipeline.arrivals import Arrival, Subscriber, subscribed
from benchmarks.pipeline.paced import PacedPublisher, cameras_for, due_times
from framematch.core.settings import KafkaSettings

_SEED = 7


@dataclass(frozen=True)
class Window:
    """What became of frames that were published at a rate; `late_ms` is by how much the publisher was, at most."""

    frames_per_s: float
    cameras: int
    late_ms: float
    arrivals: list[Arrival]
    did: Executions


@dataclass(frozen=True)
class Bench:
    """One consumer, and who is before and behind it."""

    site: Site
    kafka: KafkaSettings
    consumers: Consumers
    matches: Matches
    subscriber: Subscriber
    publisher: PacedPublisher

    async def backlog(self, frames: int) -> Run:
        """Let it answer a topic that is full with so many frames: the rate is its capacity."""
        await self.matches.begin()
        await fill_frozen(self.site, self.kafka, self.consumers, frames=frames, cameras=self.publisher.most_cameras)
        return await observe(self.site, self.matches, self.consumers, frames)

    async def window(self, frames_per_s: float, seconds: float) -> Window:
        """Publish at a rate for so long, and wait until every frame is answered.

        Raises:
            FramematchError: the frames were not all published, or not all answered.
        """
        cameras = cameras_for(frames_per_s, self.publisher.most_cameras)
        due = due_times(cameras, frames_per_s, seconds, random.Random(_SEED))  # noqa: S311  # phases of cameras
        before = await read_executions(self.site.triton.url)
        await self.subscriber.skip()
        arrivals, late_ms = await self.subscriber.during(self.publisher.run(due), len(due), self.consumers.check)
        did = await executions_since(self.site.triton.url, before, pictures=len(due))
        return Window(frames_per_s, cameras, late_ms, arrivals, did)


@asynccontextmanager
async def running_bench(
    site: Site, kafka: KafkaSettings, *, module: str = "framematch", **settings: str
) -> AsyncIterator[Bench]:
    """A consumer on topics of its own, which has answered a frame of every picture; it must end well.

    `settings` are environment variables; `module` runs the consumer's command.

    Raises:
        FramematchError: it did not start, or did not end with exit code 0.
    """
    publisher = PacedPublisher(kafka, site.jpegs)
    await prefill(kafka, site.jpegs, frames=len(site.jpegs), cameras=publisher.most_cameras)
    async with watching_matches(kafka) as matches, subscribed(kafka) as subscriber:
        environment = site.environment(kafka, **settings)
        with running_consumers(environment, site.folder, module=module) as consumers:
            await matches.collect(len(site.jpegs), consumers.check)
            yield Bench(site, kafka, consumers, matches, subscriber, publisher)
            consumers.stop()
