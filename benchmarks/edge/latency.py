"""How long a frame takes from its source to Kafka, with one camera and with several.

The time runs from when the edge got the frame (header `ce_grabtime`, or `ce_time`) to when a consumer on the same
machine has the record, by the same clock: conversion, scaling, JPEG, the producer's linger, and the broker. A consumer
gets a record once all in-sync replicas have it, so this is the time to its acknowledgement and one fetch more.
"""

import asyncio
import time
from datetime import datetime

from benchmarks.edge.site import Edge, Site, playing, running_edge
from benchmarks.edge.videos import SMALL, cached_video
from benchmarks.harness import Figure, Options, Results, percentile
from benchmarks.kafka import Arrival, TopicReader, reading
from framematch.core.settings import EdgeSettings, KafkaSettings
from framematch.core.units import MS_PER_S, US_PER_MS

_PERCENTS = (50, 99)
_MIN_SHARE = 0.8  # of the expected frames


def measure(site: Site, options: Options) -> Results:
    """Percentiles of each window, and their spread over the windows."""
    window_s = 1.5 if options.quick else 20.0
    found = Results(settings={"window_s": window_s, "linger_ms": KafkaSettings().linger_ms, "video": SMALL.name})
    with playing(site, cached_video(SMALL), "small") as url:
        for cameras in (1, 8) if options.quick else (1, 4, 8):
            with running_edge(site, url, cameras=cameras) as edge:
                asyncio.run(_measure(edge, options.rounds, window_s, found))
    return found


async def _measure(edge: Edge, rounds: int, window_s: float, found: Results) -> None:
    name = f"capture_to_ack_ms.cameras_{edge.cameras}"
    expected = window_s * EdgeSettings().fps * edge.cameras
    async with reading(edge.kafka, "frames") as frames:
        windows = [await _latencies_ms(frames, window_s) for _ in range(rounds)]
    edge.service.check()
    if (fewest := min(map(len, windows))) < _MIN_SHARE * expected:
        found.missing[name] = f"{fewest} of {expected:g} frames came: too many cameras"
        return
    for percent in _PERCENTS:
        found.figures[f"{name}.p{percent}"] = Figure.of([percentile(window, percent) for window in windows], "ms")


async def _latencies_ms(frames: TopicReader, window_s: float) -> list[float]:
    await frames.skip_to_end()
    end_s = time.monotonic() + window_s
    found: list[float] = []
    while time.monotonic() < end_s:
        found += [latency_ms(arrival) for arrival in await frames.read()]
    return found


def latency_ms(arrival: Arrival) -> float:
    """From when the edge got the frame to when it was read here."""
    headers = dict(arrival.record.headers)
    grabbed_at = datetime.fromisoformat((headers.get("ce_grabtime") or headers["ce_time"]).decode())
    return arrival.arrived_at_us / US_PER_MS - grabbed_at.timestamp() * MS_PER_S
