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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.frames import crop_batches, draw_jpegs, prefill
from benchmarks.harness import Comparison, Figure, Round, alternate, argument_parser, describe_machine
from benchmarks.report import publish
from benchmarks.sides import WARM_UP_BATCHES, Sides
from benchmarks.vit_b32 import cached_bundle
from demo.dataset import DATA_DIR
from demo.encoder import write_bundle
from demo.services import run_framematch, service_environment
from framematch.core.errors import FramematchError
from framematch.core.settings import ConsumerSettings, KafkaSettings
from framematch.core.settings_sources import require
from framematch.vision.bundle import load_bundle
from framematch.vision.preprocess import Preprocessor
from stack.up import running_stack

CAMERAS = 8
PICTURES = 240  # different ones; they come again and again
ROUNDS_QUICK, ROUNDS = 5, 9


@dataclass(frozen=True)
class Load:
    """One model, and how many batches a run takes of it."""

    figure: str
    make_bundle: Callable[[Path], Path]
    batches_quick: int
    batches: int
    goal: float | None = None


LOADS = {
    "demo": Load("consumer_vs_bare_triton_demo", lambda folder: write_bundle(folder / "demo"), 60, 250),
    "b32": Load("consumer_vs_bare_triton", lambda _folder: cached_bundle(), 7, 24, goal=0.95),
}


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
    rounds = arguments.rounds or (ROUNDS_QUICK if arguments.quick else ROUNDS)
    machine = describe_machine()
    try:
        results = {name: run(LOADS[name], rounds=rounds, quick=arguments.quick) for name in names}
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


def run(load: Load, *, rounds: int, quick: bool) -> Result:
    """Start the servers, fill the topic and the catalogue, measure, and stop everything.

    Raises:
        FramematchError: something did not start or ended early, or the sides did not do the same work.
    """
    with tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as name:
        folder = Path(name)
        consumer = ConsumerSettings()
        bundle = load_bundle(load.make_bundle(folder))
        models, environment = folder / "model_repository", service_environment(folder / "state")
        build = ("model", "build", "--from", str(bundle.path), "--out", str(models))
        run_framematch(*build, "--max-batch-size", str(consumer.batch_size), environment=environment)
        with running_stack(
            data_dir=folder / "stack", model_repository=models, names=("kafka", "triton", "mongodb")
        ) as stack:
            environment = service_environment(folder / "state", stack)
            catalog = ("catalog", "import", str(DATA_DIR / "catalog.csv"), "--images", str(DATA_DIR))
            run_framematch(*catalog, environment=environment)
            run_framematch("catalog", "build", environment=environment)
            jpegs = draw_jpegs(PICTURES)
            sides = Sides(
                stack=stack,
                triton_url=require(stack.triton_url, "triton.url"),
                kafka=KafkaSettings(bootstrap_servers=stack.kafka_bootstrap_servers),
                consumer=consumer,
                crops=crop_batches(jpegs, Preprocessor(bundle.preprocess), batch_size=consumer.batch_size),
                batches=load.batches_quick if quick else load.batches,
                folder=folder,
            )
            uvloop.run(prefill(sides.kafka, jpegs, frames=sides.frames, cameras=CAMERAS))
            return measure(load, sides, rounds, jpegs)


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
