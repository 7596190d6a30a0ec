"""How long a frame takes from its source to Kafka, with one camera and with several.

The time runs from when the edge got the frame (header `ce_grabtime`, or `ce_time`) to when a consumer on the same
machine has the record, by the same clock: conversion, scaling, JPEG, the producer's linger, and the broker. A consumer
gets a record once all in-sync replicas have it, so this is the time to its acknowledgement and one fetch more.
"""

import asyncio
import time

from benchmarks.edge.site import Site, playing, running_edge
from benchmarks.harness import Figure, Options, Results, percentile
from benchmarks.kafka import Arrival, TopicReader, reading
from demo.dataset import load_photos
from demo.feed import render_feed
from demo.schedule import make_schedule
from framematch.core.frames import parse_frame
from framematch.core.settings import EdgeSettings, KafkaSettings
from framematch.core.units import US_PER_MS

_PERCENTS = (50, 99)
_MIN_SHARE = 0.8  # of the expected frames


def measure(site: Site, options: Options) -> Results:
    """Percentiles of each window, and their spread over the windows."""
    window_s = 1.5 if options.quick else 20.0
    found = Results(settings={"window_s": window_s, "linger_ms": KafkaSettings().linger_ms})
    with playing(site, render_feed(make_schedule(load_photos(), camera=1))) as url:
        for cameras in (1, 8) if options.quick else (1, 4, 8):
            kafka, name = site.kafka.new_topics(), f"capture_to_ack_ms.cameras_{cameras}"
            with running_edge(site, kafka, url, cameras=cameras) as edge:
                windows = asyncio.run(_windows(kafka, options.rounds, window_s))
                edge.check()
            expected = window_s * EdgeSettings().fps * cameras
            if (fewest := min(map(len, windows))) < _MIN_SHARE * expected:
                found.missing[name] = f"{fewest} of {expected:g} frames arrived: too many cameras"
                continue
            for percent in _PERCENTS:
                values = [percentile(window, percent) for window in windows]
                found.figures[f"{name}.p{percent}"] = Figure.of(values, "ms")
    return found


async def _windows(kafka: KafkaSettings, rounds: int, window_s: float) -> list[list[float]]:
    """The latencies of all frames in each window."""
    async with reading(kafka, "frames") as frames:
        return [await latencies_ms(frames, window_s) for _ in range(rounds)]


async def latencies_ms(frames: TopicReader, window_s: float) -> list[float]:
    """The latencies of the frames that arrive in this time."""
    await frames.skip_to_end()
    end_s = time.monotonic() + window_s
    found: list[float] = []
    while time.monotonic() < end_s:
        found += map(_latency_ms, await frames.read())
    return found


def _latency_ms(arrival: Arrival) -> float:
    """From when the edge got the frame to when it was read here."""
    frame = parse_frame(arrival.record.key, arrival.record.headers)
    return (arrival.arrived_at_us - frame.arrived_at_us) / US_PER_MS
