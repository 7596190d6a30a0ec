"""How fast the consumer is, and what its guarantees cost: `python -m benchmarks.consumer`.

The module of each part says what it measures. Ratios are of one round, in which all sides took turns. Quick, without
`--part` and `--model`, is `speed` with the demo's model.
"""

import sys

from benchmarks.cli import Benchmark, Part
from benchmarks.consumer import conditions, processes, recovery, shadow, speed, start, swap
from benchmarks.consumer.site import Site, running_site
from benchmarks.models import MODELS

_TWO = ("demo", "light")

BENCHMARK = Benchmark(
    name="consumer",
    description="Measure the consumer: speed, start, faults, recovery, deliveries, a shadow, swaps, more processes.",
    parts={
        "speed": Part[Site](speed.measure, ("demo", "demo-int8", "b32", "b32-int8")),
        "start": Part[Site](start.measure, ("demo-int8",), in_quick=False),
        "mongodb": Part[Site](conditions.measure_mongodb, _TWO, in_quick=False),
        "poison": Part[Site](conditions.measure_poison, _TWO, in_quick=False),
        "delivery": Part[Site](conditions.measure_delivery, _TWO, in_quick=False),
        "recovery": Part[Site](recovery.measure, ("demo-int8",), in_quick=False),
        "shadow": Part[Site](shadow.measure, _TWO, in_quick=False),
        "swap": Part[Site](swap.measure, ("demo",), in_quick=False),
        "processes": Part[Site](processes.measure, ("light", "demo"), in_quick=False),
    },
    running_site=running_site,
    models=MODELS,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
