"""Runs of the consumer: the match events that it publishes, and the CPU time that it and the servers use."""

import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import uvloop

from benchmarks.consumer.site import BATCH_SIZE, WARM_UP_BATCHES, Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Figure, Options, Results, steady_rate, take_turns
from benchmarks.kafka import Arrival, TopicReader, reading
from benchmarks.processes import group_cpu_s, running_framematch
from demo.services import Service
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import MS_PER_S, US_PER_MS


class SeenMatch(msgspec.Struct):
    """What is read of a match event, when it was given to the producer, and when it arrived here."""

    frame: dict[str, Any]
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
        return (self.arrived_at_us - from_rfc3339(self.frame["captured_at"])) / US_PER_MS


@dataclass(frozen=True)
class Run:
    """The match events since `started_at_s`, and the CPU seconds of `consumer` and each running server."""

    events: list[SeenMatch]
    started_at_s: float
    cpu_s: Mapping[str, float]

    @property
    def frames_per_s(self) -> float:
        """In the steady state: neither the start nor the first two batches count."""
        return steady_rate([event.published_at_s for event in self.events], warm_up=WARM_UP_BATCHES * BATCH_SIZE)

    @property
    def cpu_ms_per_frame(self) -> dict[str, float]:
        """By process; `consumer` is the sum of all its processes."""
        return {name: MS_PER_S * used_s / len(self.events) for name, used_s in self.cpu_s.items()}

    @property
    def cores_used(self) -> float:
        """By consumer and servers together."""
        elapsed_s = max(event.published_at_s for event in self.events) - self.started_at_s
        return sum(self.cpu_s.values()) / elapsed_s


@dataclass(frozen=True)
class RunningConsumer:
    """A running `framematch consume` on the topics of `kafka`, and a reader of its match events."""

    site: Site
    kafka: KafkaSettings
    service: Service
    matches: TopicReader

    async def observe(self, events: int) -> Run:
        """Wait for the next `events` match events."""
        started_at_s, before_s = time.time(), self._cpu_s()
        found = await self.matches.read_all(events, self.service.check)
        cpu_s = {name: after_s - before_s[name] for name, after_s in self._cpu_s().items()}
        return Run(list(map(SeenMatch.of, found)), started_at_s, cpu_s)

    async def backlog(self, frames: int) -> Run:
        """Let the consumer start with a full topic of `frames` frames: the rate is its capacity.

        It is suspended while the topic is filled; if that takes a few seconds only, it keeps its partitions.
        """
        await self.matches.skip_to_end()
        os.killpg(self.service.pid, signal.SIGSTOP)
        try:
            await publish_all(self.kafka, frame_records(self.kafka, self.site.jpegs, frames))
        finally:
            os.killpg(self.service.pid, signal.SIGCONT)
        return await self.observe(frames)

    def _cpu_s(self) -> dict[str, float]:
        servers = (self.site.triton, self.site.kafka, self.site.mongodb)
        groups = {"consumer": self.service.pid} | {server.name: server.pid for server in servers if server.running}
        return {name: group_cpu_s(group) for name, group in groups.items()}


@asynccontextmanager
async def running_consumer(
    site: Site, kafka: KafkaSettings, settings: Mapping[str, str] | None = None, *, warm: bool = False
) -> AsyncIterator[RunningConsumer]:
    """`framematch consume` in a new group, which it has joined when the block starts; it must end well.

    A `warm` one has processed each picture once. `settings` are environment variables.
    """
    if warm:
        await publish_all(kafka, frame_records(kafka, site.jpegs, len(site.jpegs)))
    group = {"KAFKA_GROUP_ID": f"benchmark-{uuid.uuid4().hex[:8]}"}
    environment = site.environment(kafka) | dict(settings or {}) | group
    async with reading(kafka, "matches") as matches:
        with running_framematch("consume", environment=environment, log_file=site.folder / "consume.log") as service:
            service.wait_ready()
            if warm:
                await matches.read_all(len(site.jpegs), service.check)
            yield RunningConsumer(site, kafka, service, matches)


async def run_consumer(site: Site, kafka: KafkaSettings, events: int, settings: Mapping[str, str] | None = None) -> Run:
    """Let a new consumer read a prefilled topic from its start until it has published `events` match events."""
    async with running_consumer(site, kafka, settings) as consumer:
        return await consumer.observe(events)


def compare(
    name: str,
    sides: Mapping[str, Callable[[], Coroutine[Any, Any, Run]]],
    options: Options,
    *,
    at_least: float | None = None,
) -> Results:
    """Rates of two ways to run the consumer, the subject first in `sides`, and the CPU time of a frame in each."""
    subject, reference = sides
    cpu_ms: dict[str, list[float]] = {side: [] for side in sides}

    def rate(side: str) -> float:
        run = uvloop.run(sides[side]())
        cpu_ms[side].append(run.cpu_ms_per_frame["consumer"])
        return run.frames_per_s

    rates = take_turns(name, {side: partial(rate, side) for side in sides}, rounds=options.rounds)
    found = Results(at_least={} if at_least is None else {name: at_least})
    found.compare(name, subject, reference, rates)
    found.figures |= {f"{name}.{side}_cpu": Figure.of(values, "ms/frame") for side, values in cpu_ms.items()}
    return found
