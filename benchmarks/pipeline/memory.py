"""Whether the consumer's memory grows while frames flow at half its capacity.

About once a minute the capacity is measured again with a full topic, so that the load stays right on a shared machine,
and so that the memory of a backlog comes and goes.

The first fifth, in which caches and allocators fill, is left out. The rest is cut into twelve parts, and a line is
fitted to the lowest value of each: memory that is released again does not count, and a leak raises all of them. The
slope has a 95 % interval; it says little after a minute.
"""

import asyncio
import time
from dataclasses import dataclass

import numpy as np
import uvloop

from benchmarks.consumer.runs import running_consumer
from benchmarks.consumer.site import Site
from benchmarks.harness import Figure, Options, Results
from benchmarks.pipeline.paced import backlog_frames, publish_paced
from benchmarks.processes import group_pss_mb

LOAD = 0.5
FLAT_SHARE = 0.01  # a slope of less than 1 % of the mean an hour counts as flat
_SETTLE_SHARE = 0.2
_PARTS = 12  # two minutes each in the full run, so that each has a whole backlog
_T95 = 2.23  # Student's t for twelve points: a 95 % interval
_SAMPLE_S = 1.0
_S_PER_MINUTE, _S_PER_HOUR = 60, 3_600
_RETENTION_MINUTES = 5.0
_WINDOW_S = 50.0

Samples = list[tuple[float, float]]
"""Seconds by the monotonic clock, and MB."""


@dataclass(frozen=True)
class Trend:
    """A straight line: its mean, and its slope an hour with half the width of a 95 % interval."""

    mean: float
    per_hour: float
    uncertainty: float

    @property
    def flat(self) -> bool:
        """Whether the slope is not distinguishable from zero, or is below one per cent of the mean an hour."""
        return abs(self.per_hour) <= max(self.uncertainty, FLAT_SHARE * self.mean)


def trend_of(samples: Samples) -> Trend:
    """The least-squares line through twelve samples or so."""
    times_s, values = map(np.array, zip(*samples, strict=True))
    (slope, _), covariance = np.polyfit(times_s, values, 1, cov=True)
    error = _T95 * float(np.sqrt(covariance[0, 0]))
    return Trend(float(values.mean()), _S_PER_HOUR * float(slope), _S_PER_HOUR * error)


def settled(samples: Samples) -> Samples:
    """The samples without the first fifth of the time."""
    start_s = samples[0][0] + _SETTLE_SHARE * (samples[-1][0] - samples[0][0])
    return [(at_s, mb) for at_s, mb in samples if at_s >= start_s]


def lowest_of_parts(samples: Samples) -> Samples:
    """The lowest sample in each of twelve parts, at the middle of its part."""
    start_s, part_s = samples[0][0], (samples[-1][0] - samples[0][0]) / _PARTS
    lowest: dict[int, float] = {}
    for at_s, mb in samples:
        number = min(int((at_s - start_s) / part_s), _PARTS - 1)
        lowest[number] = min(mb, lowest.get(number, mb))
    return [(start_s + (number + 0.5) * part_s, mb) for number, mb in sorted(lowest.items())]


def measure(site: Site, options: Options) -> Results:
    """Memory, its slope, and whether it is flat."""
    minutes = 1.0 if options.quick else 30.0
    samples, frames = uvloop.run(_watch(site, options, minutes))
    lowest = lowest_of_parts(settled(samples))
    trend = trend_of(lowest)
    print(f"memory: {'flat' if trend.flat else 'not flat'} over {minutes:g} minutes and {frames} frames")
    low, high = trend.per_hour - trend.uncertainty, trend.per_hour + trend.uncertainty
    return Results(
        figures={
            "memory_mb": Figure.of([mb for _, mb in settled(samples)], "MB"),
            "memory_lowest_mb": Figure.of([mb for _, mb in lowest], "MB"),
            "memory_slope": Figure(trend.per_hour, low, high, "MB/hour"),
        },
        settings={"minutes": minutes, "frames": frames, "load": LOAD, "flat": trend.flat},
    )


async def _watch(site: Site, options: Options, minutes: float) -> tuple[Samples, int]:
    """Samples, and how many frames were processed meanwhile; Kafka deletes them after some minutes."""
    kafka = site.kafka.new_topics().model_copy(
        update={"frames_retention_minutes": _RETENTION_MINUTES, "matches_retention_hours": _RETENTION_MINUTES / 60}
    )
    samples: Samples = []
    frames = 0
    async with running_consumer(site, kafka, warm=True) as consumer:
        sampling = asyncio.create_task(_sample(consumer.service.pid, samples))
        end_s = time.monotonic() + minutes * _S_PER_MINUTE
        try:
            while (left_s := end_s - time.monotonic()) > 0:
                capacity = (await consumer.backlog(backlog_frames(options))).frames_per_s
                window = await publish_paced(consumer, LOAD * capacity, min(left_s, _WINDOW_S))
                frames += backlog_frames(options) + len(window.events)
        finally:
            sampling.cancel()
    return samples, frames


async def _sample(group: int, samples: Samples) -> None:
    """Read the memory of a process group every second, until cancelled."""
    while True:
        samples.append((time.monotonic(), group_pss_mb(group)))
        await asyncio.sleep(_SAMPLE_S)
