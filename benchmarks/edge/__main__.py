"""What the edge costs, how fast it is and how soon it comes back: `python -m benchmarks.edge`.

`publish` compares its way to Kafka with a bare confluent-kafka producer, `capture` its CPU time with a bare cv2 loop's
and counts cameras per core and memory, `latency` follows frames from their source to a Kafka consumer, `back` kills the
RTSP server, and `spool` lets frames wait on disk. The module of each part says what it measures, from when to when.
Ratios are of one round, in which both sides were measured in turns or side by side.
"""

import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.edge import back, capture, latency, publish, spool
from benchmarks.edge.site import Site, running_site
from benchmarks.harness import argument_parser, describe_machine
from benchmarks.report import publish as publish_results
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.logging import configure_logging

Part = Callable[[Site, bool, int], Results]
"""Measures on a site, quickly or not, with at least so many rounds where it has rounds."""

MIN_PUBLISH_ROUNDS = 7  # a producer's rate spreads more than CPU time


def publish_part(site: Site, quick: bool, rounds: int) -> Results:
    """See `benchmarks.edge.publish`."""
    plan = publish.Plan(max(rounds, MIN_PUBLISH_ROUNDS), frames=2_000 if quick else 15_000)
    return publish.measure_publish(site, plan)


def capture_part(site: Site, quick: bool, rounds: int) -> Results:
    """See `benchmarks.edge.capture`."""
    return capture.measure_capture(site, capture.Plan(rounds, window_s=2.5 if quick else 15.0))


def latency_part(site: Site, quick: bool, rounds: int) -> Results:
    """See `benchmarks.edge.latency`."""
    plan = latency.Plan(rounds, 1.5, cameras=(1, 8)) if quick else latency.Plan(rounds, 20.0)
    return latency.measure_latency(site, plan)


def back_part(site: Site, quick: bool, rounds: int) -> Results:
    """See `benchmarks.edge.back`."""
    return back.measure_back(site, back.Plan(1 if quick else rounds, outage_s=5.0))


def spool_part(site: Site, quick: bool, rounds: int) -> Results:
    """See `benchmarks.edge.spool`."""
    return spool.measure_spool(site, spool.Plan(rounds, frames=1_500 if quick else 8_000))


PARTS: Mapping[str, Part] = {
    "publish": publish_part,
    "capture": capture_part,
    "latency": latency_part,
    "back": back_part,
    "spool": spool_part,
}
QUICK_ROUNDS, FULL_ROUNDS = 5, 9


def main() -> int:
    """Measure the parts that the command line names; one that fails does not keep the others from running."""
    parser = argument_parser("edge", "Measure the edge: publishing, CPU time, memory, latency and coming back.")
    parser.add_argument("--part", choices=PARTS, action="append", help="give it several times; default: all")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all that was started is stopped on the way out
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else FULL_ROUNDS)
    machine = describe_machine()
    # Brokers and cameras are away on purpose; what fails is the error of its part.
    configure_logging("critical", "console", service="benchmark")
    results = Results()
    try:
        with tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder, running_site(Path(folder)) as site:
            for name in arguments.part or PARTS:
                print(f"\n{name}", flush=True)
                measure(name, site, results, quick=arguments.quick, rounds=rounds)
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    results.settings["quick"] = arguments.quick
    publish_results(results, machine=machine, json_file=arguments.json, plot_file=arguments.plot)
    return 1 if results.missing else 0


def measure(name: str, site: Site, results: Results, *, quick: bool, rounds: int) -> None:
    """Run one part; where it fails, its name and why stand among what is missing."""
    try:
        results.merge(name, PARTS[name](site, quick, rounds))
    except FramematchError as error:
        print(f"{name} failed: {error}", file=sys.stderr)
        results.missing[name] = error.message


if __name__ == "__main__":
    sys.exit(main())
