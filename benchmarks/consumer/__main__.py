"""How fast the consumer is, and what its promises cost: `python -m benchmarks.consumer`.

`speed` runs it beside Triton alone and beside a first version that takes frames one by one; `mongodb` kills MongoDB
under it, `poison` gives it bad records, `delivery` compares exactly once with at least once, and `processes` two and
four of it with one. The module of each part says what it measures. Ratios are of one round, in which all sides took
turns.

The plain names of the figures are of one model, which is ViT-B/32 in shape for `speed`, the demo's for most, and one
that computes next to nothing for `processes`; with another one they end in its name. Quick, without `--part` and
`--model`, is `speed` with the demo's model alone: each other part and model takes as long again.

`--instances` is how Triton shares out the cores. One instance on all of them answers a lone batch soonest; one for each
core is what `framematch model build --tune` mostly finds for throughput, as only several requests at once use it.
"""

import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.consumer.delivery import measure_delivery
from benchmarks.consumer.models import MODELS
from benchmarks.consumer.mongodb import measure_mongodb
from benchmarks.consumer.plan import FULL, QUICK, Plan
from benchmarks.consumer.poison import measure_poison
from benchmarks.consumer.scale import measure_scale
from benchmarks.consumer.site import Site, running_site
from benchmarks.consumer.speed import measure_speed
from benchmarks.harness import argument_parser, describe_machine
from benchmarks.report import publish
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.logging import configure_logging


@dataclass(frozen=True)
class Part:
    """Measures on a site. `quick` and `full` are the models that it is measured with unless told.

    The plain names of its figures are of the first of `full`; with others they end in the model's name.
    """

    measure: Callable[[Site, Plan], Results]
    quick: tuple[str, ...]
    full: tuple[str, ...]


PARTS: Mapping[str, Part] = {
    "speed": Part(measure_speed, ("demo",), ("b32", "b32-int8", "demo", "demo-int8")),
    "mongodb": Part(measure_mongodb, ("demo",), ("demo", "light")),
    "poison": Part(measure_poison, ("demo",), ("demo", "light")),
    "delivery": Part(measure_delivery, ("demo",), ("demo", "light")),
    "processes": Part(measure_scale, ("light",), ("light", "demo")),
}
QUICK_PARTS = ("speed",)


def main() -> int:
    """Measure the parts that the command line names; one that fails does not keep the others from running."""
    parser = argument_parser("consumer", "Measure the consumer: speed, faults, delivery and further processes.")
    parser.add_argument("--part", choices=PARTS, action="append", help="give it several times; default: all")
    parser.add_argument("--model", choices=MODELS, action="append", help="give it several times; default: by part")
    parser.add_argument(
        "--instances", type=int, default=1, help="of the model, which share the cores; default: 1, as without --tune"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all that was started is stopped on the way out
    plan = QUICK if arguments.quick else FULL
    plan = replace(plan, rounds=arguments.rounds or plan.rounds)
    names = arguments.part or (QUICK_PARTS if arguments.quick else PARTS)
    wanted = {name: arguments.model or (PARTS[name].quick if arguments.quick else PARTS[name].full) for name in names}
    machine = describe_machine()
    configure_logging("critical", "console", service="benchmark")  # what fails is the error of its part
    results = Results()
    try:
        for model in MODELS:
            parts = [name for name, models in wanted.items() if model in models]
            if parts:
                measure(model, parts, plan, results, instances=arguments.instances)
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    results.settings |= {"quick": arguments.quick, "instances": arguments.instances}
    publish(results, machine=machine, json_file=arguments.json, plot_file=arguments.plot)
    return 1 if results.missing else 0


def measure(model: str, parts: list[str], plan: Plan, results: Results, *, instances: int) -> None:
    """Start the servers with one model and run its parts; where one fails, its name and why stand among the missing."""
    with (
        tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder,
        running_site(replace(MODELS[model], instances=instances), Path(folder)) as site,
    ):
        for name in parts:
            print(f"\n{name}, {model}", flush=True)
            try:
                ending = "" if model == PARTS[name].full[0] else f"_{model.replace('-', '_')}"
                results.merge(f"{name}, {model}", PARTS[name].measure(site, replace(plan, ending=ending)))
            except FramematchError as error:
                print(f"{name} failed: {error}", file=sys.stderr)
                results.missing[f"{name}, {model}"] = error.message


if __name__ == "__main__":
    sys.exit(main())
