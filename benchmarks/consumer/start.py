"""How soon a consumer that starts publishes, and how much memory it takes while it processes a full topic.

`start` is from giving the command to the first match event at a reader, with the CPU time until then. The servers run,
the snapshot is in the cache on disk, some frames wait in the topic, and nobody else is in the group: the consumer
before has left it. A loop that batches (`benchmarks.consumer.batching_loop`) takes turns with it.

Where the time goes, in seconds since the start, is by the consumer's own log: until it has connected to the model
(imports, MongoDB, the snapshot's files), until the snapshot is served, and until its partitions are open. `imports` are
those of a process that only imports the service.

`memory` is of one run through a full topic: the highest resident set, and the highest proportional set size (libraries
that other processes share count in part) of samples twice a second.
"""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import uvloop

from benchmarks.consumer import batching_loop
from benchmarks.consumer.runs import running_consumer
from benchmarks.consumer.site import Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Figure, Options, Results, take_turns
from benchmarks.kafka import TopicReader, reading
from benchmarks.processes import check, group_cpu_s, group_peak_rss_mb, group_pss_mb
from framematch.core.errors import FramematchError
from framematch.core.settings import KafkaSettings
from framematch.core.units import US_PER_S
from framematch.stack.process import Command, ServerProcess
from framematch.stack.server import ReservedPort

GOALS = {"start.consumer": 1.0, "memory.consumer_peak": 275.0}
_FRAMES = 64
_TIMEOUT_S = 30.0
_SAMPLE_S = 0.5
_IMPORTS = "from framematch.cli.importing import service_imports\nwith service_imports(): import consumers.service"
# What the log says at the end of each part of the start.
_MARKS = {"model": "triton_connected", "snapshot": "snapshot_served", "partitions": "partitions_assigned"}


@dataclass(frozen=True)
class Start:
    """One start: seconds until the first match event, CPU seconds until then, and seconds until each log event."""

    first_event_s: float
    cpu_s: float
    logged_s: Mapping[str, float]


def measure(site: Site, options: Options) -> Results:
    """Starts in turns, and a run for memory."""
    kafka = site.kafka.new_topics()
    starts: dict[str, list[Start]] = {"consumer": [], "batching_loop": []}
    commands = {
        "consumer": (sys.executable, "-m", "framematch", "consume"),
        "batching_loop": (sys.executable, "-m", batching_loop.__name__, site.triton.url, str(_FRAMES)),
    }
    imports: list[tuple[float, float]] = []
    uvloop.run(_start(site, kafka, commands["consumer"]))  # the group's first offsets, and the snapshot's cache

    def seconds(side: str) -> float:
        if side == "imports":
            imports.append(_import())
            return imports[-1][0]
        starts[side].append(uvloop.run(_start(site, kafka, commands[side])))
        return starts[side][-1].first_event_s

    sides = {side: (lambda side=side: seconds(side)) for side in (*starts, "imports")}
    take_turns("start", sides, rounds=options.rounds, unit="s")
    found = Results(at_most=GOALS, settings={"frames": _FRAMES})
    for side, values in starts.items():
        found.figures[f"start.{side}"] = Figure.of([one.first_event_s for one in values], "s")
        found.figures[f"start.{side}_cpu"] = Figure.of([one.cpu_s for one in values], "s")
    for name, event in _MARKS.items():
        found.figures[f"start.until_{name}"] = Figure.of([one.logged_s[event] for one in starts["consumer"]], "s")
    for name, values_s in zip(("imports", "imports_cpu"), zip(*imports, strict=True), strict=True):
        found.figures[f"start.{name}"] = Figure.of(values_s, "s")
    peak_mb, pss_mb = uvloop.run(_memory(site, site.frames_for(options)))
    found.figures |= {
        "memory.consumer_peak": Figure.of([peak_mb], "MB"),
        "memory.consumer_peak_pss": Figure.of([pss_mb], "MB"),
    }
    return found


async def _start(site: Site, kafka: KafkaSettings, arguments: tuple[str, ...]) -> Start:
    """Start a command while frames wait for it, and stop it when it has published their events."""
    await publish_all(kafka, frame_records(kafka, site.jpegs, _FRAMES))
    own = {"KAFKA_GROUP_ID": "benchmark-start", "FRAMEMATCH_HTTP__PORT": str(ReservedPort().number)}
    log_file = site.folder / "start.log"
    log_file.unlink(missing_ok=True)
    async with reading(kafka, "matches") as matches:
        started_s = time.time()
        process = ServerProcess(Command(arguments, site.environment(kafka) | own), log_file)
        try:
            events, first_us = await _first(matches, process)
            cpu_s = group_cpu_s(process.pid)
            while events < _FRAMES:
                check(process, arguments[2])
                events += len(await matches.read())
        finally:
            process.stop()
    return Start(first_us / US_PER_S - started_s, cpu_s, _logged(log_file, started_s))


async def _first(matches: TopicReader, process: ServerProcess) -> tuple[int, int]:
    """The number of events that arrive first, and when they do."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while not (arrivals := await matches.read()):
                check(process, "the process that was started")
    except TimeoutError:
        raise FramematchError(f"no match event within {_TIMEOUT_S:g} s of a start") from None
    return len(arrivals), arrivals[0].arrived_at_us


def _logged(log_file: Path, started_s: float) -> dict[str, float]:
    """Seconds from the start to the first of each event in a log of JSON lines."""
    found: dict[str, float] = {}
    for line in log_file.read_text(encoding="utf-8").splitlines():
        with suppress(msgspec.DecodeError):
            event = msgspec.json.decode(line, type=dict[str, object])
            at_s = datetime.fromisoformat(str(event["timestamp"])).timestamp()
            found.setdefault(str(event["event"]), at_s - started_s)
    return found


def _import() -> tuple[float, float]:
    """Wall and CPU seconds of a process that imports the service."""
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-c", _IMPORTS], check=True)
    wall_s, after = time.monotonic() - started_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _memory(site: Site, frames: int) -> tuple[float, float]:
    """The highest resident and proportional set size of a consumer, in MB, while it reads a full topic."""
    samples: list[float] = []
    kafka = site.kafka.new_topics()
    await publish_all(kafka, frame_records(kafka, site.jpegs, frames))
    async with running_consumer(site, kafka) as consumer:

        async def sample() -> None:
            while True:
                samples.append(group_pss_mb(consumer.service.pid))
                await asyncio.sleep(_SAMPLE_S)

        sampling = asyncio.create_task(sample())
        try:
            await consumer.observe(frames)
        finally:
            sampling.cancel()
        return group_peak_rss_mb(consumer.service.pid), max(samples)
