"""How fast the API answers: `python -m benchmarks.api`. Ratios are of one round, in which all sides took turns."""

import sys

from benchmarks.api import match, stream
from benchmarks.api.site import Site, running_site
from benchmarks.cli import Benchmark, Part
from benchmarks.models import MODELS

BENCHMARK = Benchmark(
    name="api",
    description="Measure match beside Triton alone and the first draft, the time of answers, and the event stream.",
    parts={
        "speed": Part[Site](match.measure_speed, ("demo", "demo-int8", "b32-int8")),
        "latency": Part[Site](match.measure_latency, ("demo",)),
        "stream": Part[Site](stream.measure, ("demo",)),
    },
    running_site=running_site,
    models=MODELS,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
