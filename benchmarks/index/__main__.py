"""The search for the nearest vectors: `python -m benchmarks.index`.

`flat` compares the exact search with numpy's matrix product and with FAISS as it comes, `kinds` all kinds of an index
with each other. The module of each part says what it measures. `--rows` chooses sizes for `kinds`; a million takes
half an hour to build, once: vectors and indexes are kept in `build/benchmarks/index`.
"""

import sys

from benchmarks.cli import Benchmark, Part
from benchmarks.index import flat, kinds
from benchmarks.index.kept import Site, running_site

BENCHMARK = Benchmark(
    name="index",
    description="Measure the search for the nearest vectors: speed, recall, builds, memory.",
    parts={
        "flat": Part[Site](flat.measure),
        "kinds": Part[Site](kinds.measure),
    },
    running_site=running_site,
    rows=(10_000, 100_000, 1_000_000),
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
