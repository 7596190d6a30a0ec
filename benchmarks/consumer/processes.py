"""What more processes add: two and four `framematch consume` of one group against one.

All processes of a run join their group before its topic is filled, and start together. They share the machine with
Triton, Kafka and MongoDB, so the gain is bounded by the cores that one process and the servers leave idle:
`cores_used` counts all of them, and `possible` is the number of cores divided by `cores_used_by_1`. The usual model
computes next to nothing (`light`), so that inference is not the limit.
"""

import os
from dataclasses import replace
from functools import partial

import uvloop

from benchmarks.consumer.runs import Run, running_group
from benchmarks.consumer.site import BATCH_SIZE, Site
from benchmarks.harness import Figure, Options, Results, take_turns

COUNTS = (1, 2, 4)
_COUNTED_SHARE = 0.9  # the last events are left out: some process is done before the others


def measure(site: Site, options: Options) -> Results:
    """Ratios of the rates, and the cores that were used."""
    frames = BATCH_SIZE * site.batches_for(options)
    cores: dict[int, list[float]] = {count: [] for count in COUNTS}

    def rate(count: int) -> float:
        run = uvloop.run(_run(site, frames, count))
        cores[count].append(run.cores_used)
        events = sorted(run.events, key=lambda event: event.published_at_s)
        return replace(run, events=tuple(events[: round(frames * _COUNTED_SHARE)])).frames_per_s

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


async def _run(site: Site, frames: int, count: int) -> Run:
    async with running_group(site, site.new_topics(), count=count, warm=True) as consumers:
        return await consumers.backlog(frames)
