"""How near the consumer comes to Triton alone: `python -m benchmarks.consumer`.

Subject: one real `framematch consume` process, which reads a prefilled frames topic in a consumer group of its own and
does all its work: fetch, decode, crop, infer, search, enrich, publish, commit. Reference: a loop around Triton's own
client that sends pictures which are in memory already, and drops the answers.

Both sides use the same running Triton and model, the same pictures, the same number of batches of the same size, and as
many of them in flight. Triton's own statistics must show that both had the same number of pictures computed. The model
takes no larger batches than these, so that each request is one run of it. While one side is measured, the other
doesn't run.

What is compared is the steady state (`benchmarks.steady`): the first batches of each run warm it up, and the time goes
from the end of the last of these to the end of the last batch. A batch is done for the reference when its answer is
there; for the consumer when its match events went to the Kafka producer, by the timestamps of these records. So the
start of a Python process and the join of a consumer group do not count, publishing, acknowledging and committing do.
"""

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from benchmarks.frames import crop_batches, draw_jpegs, prefill
from benchmarks.harness import Comparison, Figure, Round, alternate, argument_parser, describe_machine
from benchmarks.report import publish
from benchmarks.sides import WARM_UP_BATCHES, Sides
from benchmarks.vit_b32 import cached_bundle
from demo.dataset import BUNDLE_DIR
from demo.services import fill_catalogue, run_framematch, service_environment
from framematch.core.errors import FramematchError
from framematch.core.local_stack import LocalStack
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.core.settings_sources import require
from framematch.vision.bundles.bundle import load_bundle
from framematch.vision.preprocess import Preprocessor
from stack.up import running_stack

CAMERAS = 8
PICTURES = 240  # different ones; they come again and again
CALIBRATION_BATCHES = 6


@dataclass(frozen=True)
class Load:
    """A model, the name of its figure, and the least ratio wanted."""

    figure: str
    bundle: Callable[[], Path]
    goal: float | None = None


@dataclass(frozen=True)
class Plan:
    """How long to measure: each run takes the reference about `run_s`, but no more than `most_batches`."""

    rounds: int
    run_s: float
    most_batches: int


LOADS = {
    "demo": Load("consumer_vs_bare_triton_demo", lambda: BUNDLE_DIR),
    "b32": Load("consumer_vs_bare_triton", cached_bundle, goal=0.95),
}
QUICK = Plan(rounds=5, run_s=4, most_batches=60)
FULL = Plan(rounds=9, run_s=15, most_batches=250)


@dataclass(frozen=True)
class Result:
    """What a load gave: the comparison, and figures beside it."""

    comparison: Comparison
    more: dict[str, Figure]
    settings: dict[str, int]


def main() -> int:
    """Measure the models that the command line names."""
    parser = argument_parser("consumer", "Compare the consumer with a bare Triton client loop.")
    parser.add_argument("--model", choices=[*LOADS, "both"], default="both", help="default: both")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are stopped on the way out
    names = list(LOADS) if arguments.model == "both" else [arguments.model]
    plan = QUICK if arguments.quick else FULL
    plan = replace(plan, rounds=arguments.rounds or plan.rounds)
    machine = describe_machine()
    try:
        results = {name: run(LOADS[name], plan) for name in names}
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    publish(
        [result.comparison for result in results.values()],
        machine=machine,
        settings={"quick": arguments.quick, **{name: result.settings for name, result in results.items()}},
        more={name: figure for result in results.values() for name, figure in result.more.items()},
        json_file=arguments.json,
        plot_file=arguments.plot,
    )
    return 0


def run(load: Load, plan: Plan) -> Result:
    """Start the servers, fill the catalogue and the topic, measure, and stop everything.

    Raises:
        FramematchError: something did not start or ended early, or the sides did not do the same work.
    """
    consumer = ConsumerSettings()
    with tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as name:
        folder = Path(name)
        bundle = load_bundle(load.bundle())
        with serving(bundle.path, folder, max_batch_size=consumer.batch_size) as stack:
            jpegs = draw_jpegs(PICTURES)
            sides = Sides(
                stack=stack,
                triton_url=require(stack.triton_url, "triton.url"),
                kafka=KafkaSettings(bootstrap_servers=stack.kafka_bootstrap_servers),
                consumer=consumer,
                crops=crop_batches(jpegs, Preprocessor(bundle.preprocess), batch_size=consumer.batch_size),
                batches=CALIBRATION_BATCHES,
                folder=folder,
            )
            batches = batches_for(plan, sides.run_reference() / consumer.batch_size)
            sides = replace(sides, batches=batches)
            uvloop.run(prefill(sides.kafka, jpegs, frames=sides.frames, cameras=CAMERAS))
            return measure(load, sides, plan.rounds, jpegs)


def batches_for(plan: Plan, batches_per_s: float) -> int:
    """How many batches fill a run at the reference's rate; enough are left after the warm-up to give a rate at all."""
    wanted = WARM_UP_BATCHES + round(plan.run_s * batches_per_s)
    return max(CALIBRATION_BATCHES, min(wanted, plan.most_batches))


@contextmanager
def serving(bundle: Path, folder: Path, *, max_batch_size: int) -> Iterator[LocalStack]:
    """Kafka, Triton with the bundle's model and MongoDB with the demo's catalogue, all below `folder`."""
    state, models = folder / "state", folder / "model_repository"
    build = ("model", "build", "--from", str(bundle), "--out", str(models), "--max-batch-size", str(max_batch_size))
    run_framematch(*build, environment=service_environment(state))
    names = ("kafka", "triton", "mongodb")
    with running_stack(data_dir=folder / "stack", model_repository=models, names=names) as stack:
        fill_catalogue(service_environment(state, stack))
        yield stack


def measure(load: Load, sides: Sides, rounds: int, jpegs: Sequence[bytes]) -> Result:
    """Run both sides in turns."""

    def show(number: int, done: Round) -> None:
        print(f"round {number} of {rounds}: {done.subject:.1f} and {done.reference:.1f} frames/s, {done.ratio:.3f}")

    found = alternate(sides.run_consumer, sides.run_reference, rounds=rounds, on_round=show)
    comparison = Comparison(load.figure, "consumer", "bare_triton", "frames/s", found, load.goal)
    more = {f"{load.figure}.{name}": figure for name, figure in sides.figures().items()}
    settings = {
        "rounds": rounds,
        "frames": sides.frames,
        "batch_size": sides.consumer.batch_size,
        "batches_in_flight": sides.consumer.batches_in_flight,
        "warm_up_batches": WARM_UP_BATCHES,
        "cameras": CAMERAS,
        "partitions": sides.kafka.partitions,
        "jpeg_bytes": round(sum(map(len, jpegs)) / len(jpegs)),
    }
    return Result(comparison, more, settings)


if __name__ == "__main__":
    sys.exit(main())
