"""Where a frame's time goes by stage, and CPU time by process.

The stages are those of the match events (`timings_ms`), over a full topic and at half load. At half load `elsewhere` is
the rest of the time from publisher to subscriber: the broker twice. On a full topic frames wait for the slowest stage,
so `wait` and `batch` are long by intention. CPU time is of the full topic, from when it is full.
"""

from collections.abc import Sequence
from statistics import mean

import uvloop

from benchmarks.consumer.runs import SeenMatch, running_consumer
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure, Options, Results
from benchmarks.pipeline.paced import backlog_frames, publish_paced, window_s

LOAD = 0.5


def measure(site: Site, options: Options) -> Results:
    """Milliseconds a frame, of one backlog and one window."""
    return Results(
        figures={name: Figure.of([ms], "ms/frame") for name, ms in uvloop.run(_measure(site, options)).items()},
        settings={"frames": backlog_frames(options), "load": LOAD},
    )


async def _measure(site: Site, options: Options) -> dict[str, float]:
    async with running_consumer(site, site.kafka.new_topics(), warm=True) as consumer:
        run = await consumer.backlog(backlog_frames(options))
        events = (await publish_paced(consumer, LOAD * run.frames_per_s, window_s(options))).events
    half = _mean_stages_ms(events)
    half["elsewhere"] = mean(event.latency_ms for event in events) - sum(half.values())
    return {
        **{f"stages_ms.backlog.{stage}": ms for stage, ms in _mean_stages_ms(run.events).items()},
        **{f"stages_ms.load_50.{stage}": ms for stage, ms in half.items()},
        **{f"cpu_ms.{process}": ms for process, ms in run.cpu_ms_per_frame.items()},
    }


def _mean_stages_ms(events: Sequence[SeenMatch]) -> dict[str, float]:
    """By stage, without `age`, which says nothing of a full topic."""
    stages = sorted(events[0].timings_ms.keys() - {"age"})
    return {stage: mean(event.timings_ms[stage] for event in events) for stage in stages}
