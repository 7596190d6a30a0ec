"""What the edge costs and how fast it is: `python -m benchmarks.edge`.

`publish` compares its path to Kafka with a bare confluent-kafka producer, `capture` its CPU time with a bare OpenCV
loop's and counts cameras per core and memory, `decode` finds what it saves to decode only what is needed, `latency`
follows frames from their source to a Kafka consumer, `spool` stores frames on disk and replays them; `cameras` runs up
to 200 of them. The module of each part says what it measures.
"""

import sys

from benchmarks.cli import Benchmark, Part
from benchmarks.edge import cameras, capture, decode, latency, publish, spool
from benchmarks.edge.site import Site, running_site

BENCHMARK = Benchmark(
    name="edge",
    description="Measure the edge: publishing, CPU time, memory, latency, the spool, and many cameras.",
    parts={
        "publish": Part[Site](publish.measure),
        "capture": Part[Site](capture.measure),
        "decode": Part[Site](decode.measure),
        "latency": Part[Site](latency.measure),
        "spool": Part[Site](spool.measure),
        "cameras": Part[Site](cameras.measure, in_quick=False),
    },
    running_site=running_site,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
