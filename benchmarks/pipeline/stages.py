"""Where a frame's time goes by stage, and CPU time by process.

The stages are those of the match events (`timings_ms`), over a full topic and at half load. At half load `elsewhere` is
the rest of the time from publisher to subscriber: the broker twice. On a full topic frames wait for the slowest stage,
so `wait` and `batch` are long by intention. CPU time is of the full topic, from when it is full.
"""

from collections.abc import Mapping

import uvloop

from benchmarks.consumer.runs import mean_stages_ms, running_group
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure, Options, Results
from benchmarks.pipeline.paced import PacedPublisher, backlog_frames, window_s

LOAD = 0.5
Breakdown = Mapping[str, float]
"""Milliseconds a frame by name."""


def measure(site: Site, options: Options) -> Results:
    """The breakdown of one backlog and one window."""
    stages_ms, cpu_ms = uvloop.run(_measure(site, options))
    name = options.named("stages_ms")
    figures = {f"{name}.{load}.{stage}": ms for load, stages in stages_ms.items() for stage, ms in stages.items()}
    figures |= {f"{options.named('cpu_ms')}.{process}": ms for process, ms in cpu_ms.items()}
    return Results(
        figures={name: Figure.of([ms], "ms/frame") for name, ms in figures.items()},
        settings={"frames": backlog_frames(options), "load": LOAD},
    )


async def _measure(site: Site, options: Options) -> tuple[Mapping[str, Breakdown], Breakdown]:
    async with running_group(site, site.new_topics(), warm=True) as consumers:
        run = await consumers.backlog(backlog_frames(options))
        events = (await PacedPublisher(consumers).window(LOAD * run.frames_per_s, window_s(options))).events
    half = mean_stages_ms([event.timings_ms for event in events])
    latency_ms = sum(event.latency_ms for event in events) / len(events)
    stages_ms = {
        "backlog": mean_stages_ms([event.timings_ms for event in run.events]),
        "load_50": half | {"elsewhere": latency_ms - sum(half.values())},
    }
    return stages_ms, run.cpu_ms_per_frame
