"""Runs of the consumer: its processes, the match events that they publish, and what they use meanwhile."""

import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from benchmarks.consumer.site import BATCH_SIZE, WARM_UP_BATCHES, Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Figure, Options, Results, steady_rate, take_turns
from benchmarks.kafka import Arrival, TopicReader, reading
from benchmarks.processes import running_framematch, tree_cpu_s
from demo.services import Service
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S, US_PER_MS


@dataclass(frozen=True)
class Consumers:
    """`framematch consume` as processes of one group."""

    members: tuple[Service, ...]

    def check(self) -> None:
        """Raise FramematchError, with the end of its log, when one has ended."""
        for member in self.members:
            member.check()

    def cpu_s(self) -> float:
        """CPU seconds that all of them have used so far."""
        self.check()
        return sum(tree_cpu_s(member.pid) for member in self.members)

    def total(self, metric: str, **labels: str) -> float:
        """The sum of a metric `framematch_consumer_...` over members and labels; 0 without samples."""
        return sum(sum(member.metric(f"framematch_consumer_{metric}", **labels)) for member in self.members)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes while the block runs; if it takes a few seconds only, they keep their partitions."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM to all, and wait until each has finished what is in flight."""
        with ThreadPoolExecutor(len(self.members)) as threads:
            for stopped in [threads.submit(member.stop) for member in self.members]:
                stopped.result()

    def _signal(self, number: signal.Signals) -> None:
        self.check()
        for member in self.members:
            os.kill(member.pid, number)


@contextmanager
def running_consumers(environment: Mapping[str, str], logs: Path, *, count: int = 1) -> Iterator[Consumers]:
    """`count` processes of a new group; each has joined it when the block begins."""
    group = {"KAFKA_GROUP_ID": f"benchmark-{uuid.uuid4().hex[:8]}"}
    with ExitStack() as running:
        members = tuple(
            running.enter_context(
                running_framematch(
                    "consume", environment={**environment, **group}, log_file=logs / f"consume-{number}.log"
                )
            )
            for number in range(1, count + 1)
        )
        for member in members:
            member.wait_ready()
        yield Consumers(members)


class _Frame(msgspec.Struct):
    captured_at: datetime


class SeenMatch(msgspec.Struct):
    """What is read of a match event, when it was given to the producer, and when it arrived here."""

    frame: _Frame
    timings_ms: dict[str, float]  # by stage
    metadata_state: str
    product: Any = None
    published_at_s: float = 0.0
    arrived_at_us: int = 0

    @classmethod
    def of(cls, arrival: Arrival) -> "SeenMatch":
        """Decode an event."""
        event = msgspec.json.decode(arrival.record.value, type=cls)
        event.published_at_s = arrival.record.timestamp / MS_PER_S
        event.arrived_at_us = arrival.arrived_at_us
        return event

    @property
    def latency_ms(self) -> float:
        """From the capture of its frame to its arrival here."""
        return self.arrived_at_us / US_PER_MS - self.frame.captured_at.timestamp() * MS_PER_S


@dataclass(frozen=True)
class Run:
    """The match events of a run, and the CPU time of the consumers until all events were read."""

    events: tuple[SeenMatch, ...]
    cpu_s: float

    @property
    def frames_per_s(self) -> float:
        """In the steady state: neither the start nor the first two batches count."""
        return steady_rate([event.published_at_s for event in self.events], warm_up=WARM_UP_BATCHES * BATCH_SIZE)

    @property
    def cpu_ms_per_frame(self) -> float:
        """Of all consumer processes."""
        return MS_PER_S * self.cpu_s / len(self.events)


async def run_consumer(site: Site, kafka: KafkaSettings, events: int, **settings: str) -> Run:
    """Start a consumer in a new group, let it read the topic from its start until `events` events are published, stop.

    `settings` are environment variables.
    """
    async with reading(kafka, Topics(kafka.topic_prefix).matches) as matches:
        with running_consumers(site.environment(kafka, **settings), site.folder) as consumers:
            run = await observe(matches, consumers, events)
            consumers.stop()
            return run


async def observe(matches: TopicReader, consumers: Consumers, events: int) -> Run:
    """What running consumers do until the next `events` events are there."""
    before_s = consumers.cpu_s()
    found = await matches.read_all(events, consumers.check)
    return Run(tuple(map(SeenMatch.of, found)), consumers.cpu_s() - before_s)


async def fill_frozen(site: Site, kafka: KafkaSettings, consumers: Consumers, frames: int) -> None:
    """Publish `frames` frames while the consumers are stopped, so that all start together with a full topic."""
    with consumers.frozen():
        await publish_all(kafka, frame_records(kafka, site.jpegs, frames))


def mean_stages_ms(timings_ms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean time in each stage, without `age`, which says nothing of a prefilled topic."""
    stages = sorted(timings_ms[0].keys() - {"age"})
    return {stage: sum(timings[stage] for timings in timings_ms) / len(timings_ms) for stage in stages}


async def _finish(run: Callable[[], Awaitable[Run]]) -> Run:
    return await run()


def compare(
    name: str, sides: Mapping[str, Callable[[], Awaitable[Run]]], options: Options, *, at_least: float | None = None
) -> Results:
    """Rates of two ways to run the consumer, the subject first in `sides`, and the CPU time of a frame in each."""
    subject, reference = sides
    cpu_ms: dict[str, list[float]] = {side: [] for side in sides}

    def rate(side: str) -> float:
        run = uvloop.run(_finish(sides[side]))
        cpu_ms[side].append(run.cpu_ms_per_frame)
        return run.frames_per_s

    rates = take_turns(name, {side: partial(rate, side) for side in sides}, rounds=options.rounds)
    figure = options.named(name)
    found = Results(at_least={} if at_least is None else {figure: at_least})
    found.compare(figure, subject, reference, rates)
    found.figures |= {f"{figure}.{side}_cpu": Figure.of(values, "ms/frame") for side, values in cpu_ms.items()}
    return found
