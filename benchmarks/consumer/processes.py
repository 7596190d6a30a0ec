"""What more processes add: two and four `framematch consume` of one group against one.

All processes of a run join their group before its topic is filled, and start together. They share the machine with
Triton, Kafka and MongoDB, so the gain is bounded by the cores that one process and the servers leave idle:
`cores_used` counts all of them, and `possible` is the number of cores divided by `cores_used_by_1`. The usual model
computes next to nothing (`light`), so that inference is not the limit.
"""

import os
import time
from dataclasses import replace
from functools import partial

import uvloop

from benchmarks.consumer.runs import Run, fill_frozen, observe, running_consumers
from benchmarks.consumer.site import BATCH_SIZE, Site
from benchmarks.frames import frame_records, publish_all
from benchmarks.harness import Figure, Options, Results, take_turns
from benchmarks.kafka import reading
from framematch.core.kafka.topics import Topics

COUNTS = (1, 2, 4)
_COUNTED_SHARE = 0.9  # the last events are left out: some process is done before the others


def measure(site: Site, options: Options) -> Results:
    """Ratios of the rates, and the cores that were used."""
    frames = BATCH_SIZE * site.batches_for(options)
    cores: dict[int, list[float]] = {count: [] for count in COUNTS}

    def rate(count: int) -> float:
        run, used = uvloop.run(_run(site, frames, count))
        cores[count].append(used)
        return run.frames_per_s

    sides = {_side(count): partial(rate, count) for count in COUNTS}
    rates = take_turns("processes", sides, rounds=options.rounds)
    found, name = Results(), options.named("processes")
    for count in COUNTS[1:]:
        found.compare(options.named(f"processes_{count}_vs_1"), _side(count), _side(1), rates)
    for count, used in cores.items():
        found.figures[f"{name}.cores_used_by_{count}"] = Figure.of(used, "cores")
    available = len(os.sched_getaffinity(0))
    found.figures[f"{name}.possible"] = Figure.of([available / used for used in cores[1]], "ratio")
    return found


def _side(count: int) -> str:
    return f"{count}_processes"


async def _run(site: Site, frames: int, count: int) -> tuple[Run, float]:
    """A run without its end, and the cores that consumers and servers used."""
    kafka = site.new_topics()
    await publish_all(kafka, frame_records(kafka, site.jpegs, len(site.jpegs)))
    async with reading(kafka, Topics(kafka.topic_prefix).matches) as matches:
        with running_consumers(site.environment(kafka), site.folder, count=count) as consumers:
            await matches.read_all(len(site.jpegs), consumers.check)
            await fill_frozen(site, kafka, consumers, frames)
            started_s, servers_s = time.time(), sum(site.cpu_s().values())
            run = await observe(matches, consumers, frames)
            servers_s = sum(site.cpu_s().values()) - servers_s
            consumers.stop()
    events = sorted(run.events, key=lambda event: event.published_at_s)
    used = (run.cpu_s + servers_s) / (events[-1].published_at_s - started_s)
    return replace(run, events=tuple(events[: round(frames * _COUNTED_SHARE)])), used
