"""How long a frame takes from its source to Kafka, with one camera and with several.

The time goes from when the edge got the frame (the header `ce_grabtime`, or `ce_time` where there is none) to when a
consumer on the same machine had the record, by the same clock: conversion, scaling, JPEG, the producer's linger, the
broker, and the way back. A record is handed to consumers once all in-sync replicas have it, so this is the time to its
acknowledgement with one more fetch in it. Beside it stands the mean of what the edge itself has measured up to the
acknowledgement: exact, but without percentiles.
"""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.edge.arrivals import Arrivals, watching
from benchmarks.edge.site import Edge, Site, playing, running_edge
from benchmarks.edge.videos import SMALL, cached_video
from benchmarks.harness import Figure
from benchmarks.results import Results, percentile
from framematch.core.errors import FramematchError
from framematch.core.settings import EdgeSettings, KafkaSettings

_PERCENTS = (50, 99)
_MS_PER_S = 1_000
_LEAST_SHARE = 0.8  # of the frames that should come


@dataclass(frozen=True)
class Plan:
    """`windows` of `window_s` seconds for each number of cameras."""

    windows: int
    window_s: float
    cameras: tuple[int, ...] = (1, 4, 8)


def measure_latency(site: Site, plan: Plan) -> Results:
    """Percentiles of each window, and their spread over the windows.

    Raises:
        FramematchError: something did not start, or ended.
    """
    found = Results()
    with playing(site, cached_video(SMALL), "small") as stream:
        for cameras in plan.cameras:
            with running_edge(site, stream.url, cameras=cameras) as edge:
                asyncio.run(_measure(edge, plan, found))
    found.settings = {
        "video": SMALL.name,
        "sampled_fps": EdgeSettings().fps,
        "linger_ms": KafkaSettings().linger_ms,
        "windows": plan.windows,
        "window_s": plan.window_s,
        "frames_per_window_and_camera": round(plan.window_s * EdgeSettings().fps),
    }
    return found


async def _measure(edge: Edge, plan: Plan, found: Results) -> None:
    name = f"capture_to_ack_ms.cameras_{edge.cameras}"
    expected = plan.window_s * EdgeSettings().fps * edge.cameras
    exact_ms = []
    windows = []
    async with watching([edge.kafka]) as arrivals:
        for _ in range(plan.windows):
            before = await asyncio.to_thread(_acknowledged, edge)
            windows.append(await _latencies_ms(arrivals, plan.window_s))
            if len(windows[-1]) < _LEAST_SHARE * expected:
                found.missing[name] = f"{len(windows[-1])} of {expected:g} frames came: too many cameras"
                return
            seconds, frames = await asyncio.to_thread(_acknowledged, edge)
            exact_ms.append(_MS_PER_S * (seconds - before[0]) / (frames - before[1]))
    for percent in _PERCENTS:
        values = [percentile(window, percent) for window in windows]
        found.figures[f"{name}.p{percent}"] = Figure.of(values, "ms")
    found.figures[f"{name}.mean_by_edge"] = Figure.of(exact_ms, "ms")


async def _latencies_ms(arrivals: Arrivals, window_s: float) -> list[float]:
    await arrivals.begin()
    end_s = time.monotonic() + window_s
    found: list[float] = []
    while time.monotonic() < end_s:
        found += [arrival.latency_ms for arrival in await arrivals.next()]
    return found


def _acknowledged(edge: Edge) -> tuple[float, float]:
    """Seconds from capture to acknowledgement, summed over all frames so far, and the number of these."""
    edge.service.check()
    sums = edge.total("publish_seconds_sum"), edge.total("publish_seconds_count")
    if not sums[1]:
        raise FramematchError("the edge's metric publish_seconds counts no frames")
    return sums
