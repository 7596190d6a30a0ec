"""How long a frame takes to a subscriber, and what it costs on the way: `python -m benchmarks.pipeline`.

`latency` publishes frames at a part of the consumer's capacity and waits for their events, `stages` tells where a frame
and the CPU spend their time, `memory` watches the consumer's memory while frames flow. The module of each part says
what it measures, from when to when. One `framematch consume` runs against the real servers; publisher and subscriber
are in this process.

Quick, without `--part`, leaves out `memory`: a minute of it says little. It is measured with `--part memory`.
"""

import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.consumer.models import MODELS
from benchmarks.consumer.site import Site, running_site
from benchmarks.harness import argument_parser, describe_machine
from benchmarks.pipeline.latency import measure_latency
from benchmarks.pipeline.memory import measure_memory
from benchmarks.pipeline.part import Measured
from benchmarks.pipeline.plan import FULL, QUICK, Plan
from benchmarks.pipeline.stages import measure_stages
from benchmarks.report import publish_figures
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.logging import configure_logging

PARTS: Mapping[str, Callable[[Site, Plan], Measured]] = {
    "latency": measure_latency,
    "stages": measure_stages,
    "memory": measure_memory,
}
QUICK_PARTS = ("latency", "stages")
_SEGMENT_BYTES = 16_777_216  # frames are forgotten a segment at a time
_PANEL_INCHES = (6, 4.5)


def main() -> int:
    """Measure the parts that the command line names; one that fails does not keep the others from running."""
    parser = argument_parser("pipeline", "Measure the way of a frame: latency, stages, memory.")
    parser.add_argument("--part", choices=PARTS, action="append", help="give it several times; default: all")
    parser.add_argument("--model", choices=MODELS, default="demo", help="default: demo")
    parser.add_argument("--minutes", type=float, help=f"to watch memory; default: {FULL.memory_minutes:g}")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all that was started is stopped on the way out
    plan = QUICK if arguments.quick else FULL
    plan = replace(
        plan, rounds=arguments.rounds or plan.rounds, memory_minutes=arguments.minutes or plan.memory_minutes
    )
    names = arguments.part or (QUICK_PARTS if arguments.quick else PARTS)
    machine = describe_machine()
    configure_logging("critical", "console", service="benchmark")  # what fails is the error of its part
    results, panels = Results(settings={"quick": arguments.quick, "model": arguments.model}), []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder,
            running_site(MODELS[arguments.model], Path(folder), segment_bytes=_SEGMENT_BYTES) as site,
        ):
            for name in names:
                print(f"\n{name}", flush=True)
                panels += measure(name, site, plan, results)
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    publish_figures(results, machine=machine, json_file=arguments.json)
    if panels:
        draw(panels, arguments.plot)
        print(f"Written: {arguments.plot}")
    return 1 if results.missing else 0


def measure(name: str, site: Site, plan: Plan, results: Results) -> list[Callable[[Axes], None]]:
    """Run one part, and hand back its pictures; where it fails, its name and why stand among what is missing."""
    try:
        measured = PARTS[name](site, plan)
    except FramematchError as error:
        print(f"{name} failed: {error}", file=sys.stderr)
        results.missing[name] = error.message
        return []
    results.merge(name, measured.results)
    return measured.panels


def draw(panels: list[Callable[[Axes], None]], path: Path) -> None:
    """All pictures side by side, two in a row, as one PNG."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    canvas = Canvas(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), layout="constrained")
    places = list(canvas.subplots(rows, columns, squeeze=False).flat)
    for panel, axes in zip(panels, places, strict=False):
        panel(axes)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
