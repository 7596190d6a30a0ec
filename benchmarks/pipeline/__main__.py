"""How long a frame takes to a subscriber, and what it costs: `python -m benchmarks.pipeline`.

`latency` publishes frames at a share of the consumer's capacity and waits for their events, `stages` shows where a
frame's time and the CPU time go, `memory` watches the consumer's memory while frames flow. The module of each part says
what it measures. One `framematch consume` runs against the real servers; publisher and subscriber are in this process.

Quick, without `--part`, leaves out `memory`, of which one minute says little.
"""

import sys

from benchmarks.cli import Benchmark, Part
from benchmarks.consumer.site import Site, running_site
from benchmarks.models import MODELS
from benchmarks.pipeline import latency, memory, stages

_DEMO = ("demo",)

BENCHMARK = Benchmark(
    name="pipeline",
    description="Measure the data flow from Kafka to a subscriber: latency, stages, memory.",
    parts={
        "latency": Part[Site](latency.measure, _DEMO),
        "stages": Part[Site](stages.measure, _DEMO),
        "memory": Part[Site](memory.measure, _DEMO, in_quick=False),
    },
    running_site=running_site,
    models=MODELS,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
