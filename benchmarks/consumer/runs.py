"""Runs of the consumer: its processes, the match events that they publish, and the CPU time that they use."""

import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import uvloop

from benchmarks.consumer.site import BATCH_SIZE, WARM_UP_BATCHES, Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Figure, Options, Results, steady_rate, take_turns
from benchmarks.kafka import Arrival, TopicReader, reading
from benchmarks.processes import running_framematch, tree_cpu_s
from demo.services import Service
from framematch.core.settings import KafkaSettings
from framematch.core.units import MS_PER_S, US_PER_MS


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
    """The match events since `started_at_s`, and the CPU seconds of `consumer`, `triton`, `kafka` and `mongodb`."""

    events: tuple[SeenMatch, ...]
    started_at_s: float
    cpu_s: Mapping[str, float]

    @property
    def frames_per_s(self) -> float:
        """In the steady state: neither the start nor the first two batches count."""
        return steady_rate([event.published_at_s for event in self.events], warm_up=WARM_UP_BATCHES * BATCH_SIZE)

    @property
    def cpu_ms_per_frame(self) -> dict[str, float]:
        """By process; `consumer` is the sum of all consumers."""
        return {name: MS_PER_S * used_s / len(self.events) for name, used_s in self.cpu_s.items()}

    @property
    def cores_used(self) -> float:
        """By consumers and servers together."""
        elapsed_s = max(event.published_at_s for event in self.events) - self.started_at_s
        return sum(self.cpu_s.values()) / elapsed_s


@dataclass(frozen=True)
class ConsumerGroup:
    """`framematch consume` as processes of one group on the topics of `kafka`, and a reader of their match events."""

    site: Site
    kafka: KafkaSettings
    members: tuple[Service, ...]
    matches: TopicReader

    def check(self) -> None:
        """Raise FramematchError, with the end of its log, when one has ended."""
        for member in self.members:
            member.check()

    def total(self, metric: str, **labels: str) -> float:
        """The sum of a metric `framematch_consumer_...` over members and labels; 0 without samples."""
        return sum(sum(member.metric(f"framematch_consumer_{metric}", **labels)) for member in self.members)

    async def observe(self, events: int) -> Run:
        """Wait for the next `events` match events."""
        started_at_s, before_s = time.time(), self._cpu_s()
        found = await self.matches.read_all(events, self.check)
        cpu_s = {name: after_s - before_s[name] for name, after_s in self._cpu_s().items()}
        return Run(tuple(map(SeenMatch.of, found)), started_at_s, cpu_s)

    async def backlog(self, frames: int) -> Run:
        """Let all processes start together with a full topic of `frames` frames: the rate is their capacity."""
        await self.matches.skip_to_end()
        with self._frozen():
            await publish_all(self.kafka, frame_records(self.kafka, self.site.jpegs, frames))
        return await self.observe(frames)

    def stop(self) -> None:
        """SIGTERM to all; raises FramematchError when one does not finish what is in flight and end with code 0."""
        with ThreadPoolExecutor(len(self.members)) as threads:
            for stopped in [threads.submit(member.stop) for member in self.members]:
                stopped.result()

    def _cpu_s(self) -> dict[str, float]:
        self.check()
        return {"consumer": sum(tree_cpu_s(member.pid) for member in self.members), **self.site.cpu_s()}

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Stop all processes while the block runs; if it takes a few seconds only, they keep their partitions."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        self.check()
        for member in self.members:
            os.kill(member.pid, number)


@asynccontextmanager
async def running_group(
    site: Site,
    kafka: KafkaSettings,
    settings: Mapping[str, str] | None = None,
    *,
    count: int = 1,
    warm: bool = False,
) -> AsyncIterator[ConsumerGroup]:
    """`count` processes of a new group, which all have joined it when the block begins; they must end well.

    `warm` ones have processed each picture once. `settings` are environment variables.
    """
    if warm:
        await publish_all(kafka, frame_records(kafka, site.jpegs, len(site.jpegs)))
    group = {"KAFKA_GROUP_ID": f"benchmark-{uuid.uuid4().hex[:8]}"}
    environment = site.environment(kafka) | dict(settings or {}) | group
    async with reading(kafka, "matches") as matches:
        with ExitStack() as running:
            members = [
                running.enter_context(
                    running_framematch(
                        "consume", environment=environment, log_file=site.folder / f"consume-{number}.log"
                    )
                )
                for number in range(1, count + 1)
            ]
            for member in members:
                member.wait_ready()
            consumers = ConsumerGroup(site, kafka, tuple(members), matches)
            if warm:
                await matches.read_all(len(site.jpegs), consumers.check)
            yield consumers
            consumers.stop()


async def run_consumer(site: Site, kafka: KafkaSettings, events: int, settings: Mapping[str, str] | None = None) -> Run:
    """Let a new consumer read a prefilled topic from its start until it has published `events` match events."""
    async with running_group(site, kafka, settings) as consumers:
        return await consumers.observe(events)


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
        cpu_ms[side].append(run.cpu_ms_per_frame["consumer"])
        return run.frames_per_s

    rates = take_turns(name, {side: partial(rate, side) for side in sides}, rounds=options.rounds)
    figure = options.named(name)
    found = Results(at_least={} if at_least is None else {figure: at_least})
    found.compare(figure, subject, reference, rates)
    found.figures |= {f"{figure}.{side}_cpu": Figure.of(values, "ms/frame") for side, values in cpu_ms.items()}
    return found
