"""Whether the consumer's memory grows: its resident memory while frames flow at half its capacity.

About once a minute the capacity is measured anew, with a full topic: so the load stays what it should be on a machine
that others use too, and what the consumer holds under a backlog comes and goes.

The first fifth is left out, in which caches and allocators fill. The rest is cut into twelve parts, and the line goes
through the lowest value of each: memory that is given back does not count, a leak lifts them all. Told is the line's
slope in MB an hour with a 95 % interval (`benchmarks.pipeline.trend`), so a run of a minute says little, and says so.
"""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import uvloop
from matplotlib.axes import Axes

from benchmarks.consumer.site import Site
from benchmarks.harness import Figure
from benchmarks.pipeline.bench import running_bench
from benchmarks.pipeline.part import Measured
from benchmarks.pipeline.plan import Plan
from benchmarks.pipeline.trend import FLAT_SHARE, Trend, trend_of
from benchmarks.results import Results

LOAD = 0.5
_SETTLE_SHARE = 0.2
_PARTS = 12  # of two minutes each in the full run: every backlog and what follows it is in one
_SAMPLE_S = 0.5
_S_PER_MINUTE, _BYTES_PER_MB = 60, 1e6
_RETENTION_MINUTES = 5.0
_WINDOW_S = 50.0

Samples = list[tuple[float, float]]
"""Seconds since the beginning, and MB."""


def measure_memory(site: Site, plan: Plan) -> Measured:
    """Resident memory, its slope, and whether it is flat.

    Raises:
        FramematchError: a frame was not answered, or something did not start.
    """
    samples, frames = uvloop.run(_watch(site, plan))
    settled = settled_part(samples)
    floor = lowest_of_parts(settled)
    trend = trend_of(*zip(*floor, strict=True))
    slope = Figure(trend.per_hour, trend.per_hour - trend.uncertainty, trend.per_hour + trend.uncertainty, "MB/hour")
    print(f"memory: {'flat' if trend.flat else 'not flat'} over {plan.memory_minutes:g} minutes and {frames} frames")
    found = Results(
        figures={
            "memory_mb": Figure.of([mb for _, mb in settled], "MB"),
            "memory_floor_mb": Figure.of([mb for _, mb in floor], "MB"),
            "memory_slope": slope,
            "memory_flat": Figure.of([float(trend.flat)], "1 = yes"),
        },
        settings={"minutes": plan.memory_minutes, "frames": frames, "load": LOAD, "flat_share_an_hour": FLAT_SHARE},
    )
    return Measured(found, [lambda axes: plot(axes, samples, floor, trend)])


def settled_part(samples: Samples) -> Samples:
    """Without the first fifth of the time."""
    begin_s = samples[0][0] + _SETTLE_SHARE * (samples[-1][0] - samples[0][0])
    return [(at_s, mb) for at_s, mb in samples if at_s >= begin_s]


def lowest_of_parts(samples: Samples) -> Samples:
    """The lowest sample of each of twelve parts, as of the middle of its part."""
    begin_s, part_s = samples[0][0], (samples[-1][0] - samples[0][0]) / _PARTS
    lowest: dict[int, float] = {}
    for at_s, mb in samples:
        number = min(int((at_s - begin_s) / part_s), _PARTS - 1)
        lowest[number] = min(mb, lowest.get(number, mb))
    return [(begin_s + (number + 0.5) * part_s, mb) for number, mb in sorted(lowest.items())]


async def _watch(site: Site, plan: Plan) -> tuple[Samples, int]:
    """Samples, and how many frames were answered meanwhile; Kafka forgets them after some minutes."""
    kafka = site.new_topics().model_copy(
        update={"frames_retention_minutes": _RETENTION_MINUTES, "matches_retention_hours": _RETENTION_MINUTES / 60}
    )
    samples: Samples = []
    frames = 0
    async with running_bench(site, kafka) as bench:
        sampling = asyncio.create_task(_sample(bench.consumers.members[0].pid, samples))
        end_s = time.monotonic() + plan.memory_minutes * _S_PER_MINUTE
        try:
            while (left_s := end_s - time.monotonic()) > 0:
                capacity = (await bench.backlog(plan.backlog_frames)).frames_per_s
                window = await bench.window(LOAD * capacity, min(left_s, _WINDOW_S))
                frames += plan.backlog_frames + len(window.arrivals)
        finally:
            sampling.cancel()
    return samples, frames


async def _sample(pid: int, samples: Samples) -> None:
    """Until cancelled, or the process ends."""
    began_s = time.monotonic()
    with suppress(FileNotFoundError):
        while True:
            samples.append((time.monotonic() - began_s, resident_mb(pid)))
            await asyncio.sleep(_SAMPLE_S)


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in 1e6 bytes; pages that it shares with others count in full."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _BYTES_PER_MB


def plot(axes: Axes, samples: Samples, floor: Samples, trend: Trend) -> None:
    """Memory over time, its lowest values, and the line through these."""
    axes.plot([at_s / _S_PER_MINUTE for at_s, _ in samples], [mb for _, mb in samples], linewidth=0.8)
    times_s = [at_s for at_s, _ in floor]
    axes.plot([at_s / _S_PER_MINUTE for at_s in times_s], [mb for _, mb in floor], "o", color="black", markersize=4)
    middle_s = sum(times_s) / len(times_s)
    line = [trend.mean + trend.per_hour * (at_s - middle_s) / 3_600 for at_s in times_s]
    label = f"lowest: {trend.per_hour:+.1f} ± {trend.uncertainty:.1f} MB/hour"
    axes.plot([at_s / _S_PER_MINUTE for at_s in times_s], line, color="black", label=label)
    axes.set(title="resident memory of the consumer", xlabel="minutes", ylabel="MB")
    axes.set_ylim(0, 1.25 * max(mb for _, mb in samples))
    axes.legend()
