"""What more processes add: `framematch consume` with two and four workers against one.

All workers have joined their group before its topic is filled, and start together. They share the machine with Triton,
Kafka and MongoDB, so the gain is bounded by the cores that one worker and the servers leave idle: `cores_used` counts
all of them, and `possible` is the number of cores divided by `cores_used_by_1`. The usual model computes next to
nothing (`light`), so that inference is not the limit.
"""

import os
from dataclasses import replace
from functools import partial

import uvloop

from benchmarks.consumer.runs import Run, running_consumer
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure, Options, Results, take_turns

WORKERS = (1, 2, 4)
_COUNTED_SHARE = 0.9  # the last events are left out: some workers are done before the others


def measure(site: Site, options: Options) -> Results:
    """Ratios of the rates, and the cores that were used."""
    frames = site.frames_for(options)
    cores: dict[int, list[float]] = {workers: [] for workers in WORKERS}

    def rate(workers: int) -> float:
        run = uvloop.run(_run(site, frames, workers))
        cores[workers].append(run.cores_used)
        events = sorted(run.events, key=lambda event: event.published_at_s)
        return replace(run, events=events[: round(frames * _COUNTED_SHARE)]).frames_per_s

    sides = {f"workers_{count}": partial(rate, count) for count in WORKERS}
    rates = take_turns("processes", sides, rounds=options.rounds)
    found = Results()
    for count in WORKERS[1:]:
        found.compare(f"processes_{count}_vs_1", f"workers_{count}", "workers_1", rates)
    for count, used in cores.items():
        found.figures[f"processes.cores_used_by_{count}"] = Figure.of(used, "cores")
    available = len(os.sched_getaffinity(0))
    found.figures["processes.possible"] = Figure.of([available / used for used in cores[1]], "ratio")
    return found


async def _run(site: Site, frames: int, workers: int) -> Run:
    settings = {"FRAMEMATCH_CONSUMER__WORKERS": str(workers)}
    async with running_consumer(site, site.kafka.new_topics(), settings, warm=True) as consumer:
        return await consumer.backlog(frames)
