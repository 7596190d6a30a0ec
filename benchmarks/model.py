"""What serving a model costs beside computing it: `python -m benchmarks.model`.

Subject: the image model in the real Triton, asked over gRPC with enough requests in flight. Reference: ONNX Runtime
alone, in this process, with the same graph, batches and number of threads. Both in fp32 and in int8, for batches of 1,
8 and 32, with the demo's model and with one of the shape of CLIP ViT-B/32 and random weights.

All four take turns in each round, forwards and backwards, and ratios are of one round. The served models take no larger
batches than the ones that are sent, so that each request is one run of the model, as it is for the reference; Triton's
own statistics must confirm it. Beside that: how far int8 turns the embeddings, how long a model takes to load, and what
scaling a picture costs (`benchmarks.preprocessing`).
"""

import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.frames import crop_batches, draw_jpegs
from benchmarks.harness import Figure, argument_parser, describe_machine, take_turns
from benchmarks.model_figures import Case, Results
from benchmarks.model_report import publish
from benchmarks.model_sides import IN_FLIGHT, PRECISIONS, Server, running_servers, sides
from benchmarks.preprocessing import Way, measure_ways, subject_in, subject_of
from benchmarks.vit_b32 import VitShape, cached_bundle
from demo.dataset import BUNDLE_DIR, DATA_DIR, load_photos
from framematch.catalog.images import decode_rgb
from framematch.core.errors import FramematchError
from framematch.core.logging import configure_logging
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.checks.conformance import cosines
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.int8.quantize import quantize_image_tower
from framematch.model_build.onnx_session import OnnxSession, embed_pictures
from framematch.model_build.repository.tune import available_cores
from framematch.vision.manifest import IMAGE_MODEL, Precision
from framematch.vision.preprocess import Preprocessor

Pixels = NDArray[np.uint8]

MODELS: Mapping[str, Callable[[], Path]] = {"demo": lambda: BUNDLE_DIR, "b32": cached_bundle}


@dataclass(frozen=True)
class Plan:
    """How much to measure. `run_s` is for one side in one round, `scale_s` for one size and way of scaling."""

    rounds: int
    run_s: float
    batch_sizes: tuple[int, ...]
    pictures: int
    calibration_pictures: int
    scale_s: float
    product_ways_alone: bool


QUICK = Plan(5, 0.5, (1, 32), pictures=64, calibration_pictures=8, scale_s=0.25, product_ways_alone=True)
FULL = Plan(9, 2.0, (1, 8, 32), pictures=128, calibration_pictures=32, scale_s=1.0, product_ways_alone=False)


def main() -> int:
    """Measure the models that the command line names, and the preprocessing."""
    parser = argument_parser("model", "Compare the served model with ONNX Runtime alone, in fp32 and in int8.")
    parser.add_argument("--model", choices=[*MODELS, "both"], default="both", help="default: both")
    parser.add_argument(
        "--expected",
        type=Path,
        metavar="FILE",
        help="take the cosines of preprocessing to these reference embeddings, with their bundle beside them",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are stopped on the way out
    names = list(MODELS) if arguments.model == "both" else [arguments.model]
    plan = QUICK if arguments.quick else FULL
    plan = replace(plan, rounds=arguments.rounds or plan.rounds)
    machine = describe_machine()
    configure_logging("warning", "console", service="benchmark")
    try:
        ways = preprocessing(plan, arguments.expected)
        with tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder, running_servers(Path(folder)) as at:
            results = [measure(name, at, plan) for name in names]
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    settings = {
        "quick": arguments.quick,
        "rounds": plan.rounds,
        "run_s": plan.run_s,
        "requests_in_flight": IN_FLIGHT,
        "threads": available_cores(),
        "calibration_pictures": plan.calibration_pictures,
        "preprocessing_reference": "the demo's pictures" if arguments.expected is None else arguments.expected.name,
    }
    publish(results, ways, machine=machine, settings=settings, json_file=arguments.json, plot_file=arguments.plot)
    return 0


def preprocessing(plan: Plan, expected: Path | None) -> list[Way]:
    """Costs for a model that takes 224 x 224; cosines of the reference embeddings, else of the demo's model.

    Raises:
        ModelError: the reference embeddings or their bundle cannot be used.
    """
    photos = demo_photos(plan.calibration_pictures)
    bundle = load_bundle(BUNDLE_DIR)
    side_px = VitShape().side_px
    spec = replace(bundle.preprocess, resize_shortest_edge=side_px, crop_height=side_px, crop_width=side_px)
    subject = subject_in(expected) if expected else subject_of(bundle, photos)
    return measure_ways(
        subject, photo=photos[0], spec=spec, seconds=plan.scale_s, product_alone=plan.product_ways_alone
    )


def demo_photos(number: int) -> list[Pixels]:
    """The first of the demo's photos, RGB."""
    return [decode_rgb((DATA_DIR / photo.file).read_bytes()) for photo in load_photos()[:number]]


def measure(name: str, servers: Mapping[Precision, Server], plan: Plan) -> Results:
    """Build the model in both precisions, and let all sides take turns for each size of batch.

    Raises:
        FramematchError: the model cannot be built or served, or the sides did not do the same work.
    """
    bundle = load_bundle(MODELS[name]())
    tower = fold_towers(bundle)[IMAGE_MODEL]
    preprocessor = Preprocessor(bundle.preprocess)
    print(f"{name}: making the int8 model")
    calibration = np.stack([preprocessor(photo) for photo in demo_photos(plan.calibration_pictures)])
    towers = {"fp32": tower, "int8": replace(tower, graph=quantize_image_tower(tower.graph, calibration))}
    sessions = {precision: OnnxSession(towers[precision].graph, threads=available_cores()) for precision in PRECISIONS}
    jpegs = draw_jpegs(plan.pictures)
    load_s: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    cases = []
    for batch_size in plan.batch_sizes:
        for precision in PRECISIONS:
            load_s[precision].append(
                servers[precision].load(bundle, towers[precision], precision, max_batch_size=batch_size)
            )
        crops = crop_batches(jpegs, preprocessor, batch_size=batch_size)
        rounds = []
        for rates in take_turns(sides(servers, sessions, crops, run_s=plan.run_s), rounds=plan.rounds):
            rounds.append(rates)
            said = ", ".join(f"{side} {rate:.1f}" for side, rate in rates.items())
            print(f"{name}, batch {batch_size}, round {len(rounds)} of {plan.rounds}: {said} images/s", flush=True)
        cases.append(Case(name, batch_size, tuple(rounds)))
    return Results(
        model=name,
        cases=tuple(cases),
        int8_cosines=int8_cosines(sessions, crop_batches(jpegs, preprocessor, batch_size=16)[0]),
        load_s={precision: Figure.of(values, "s") for precision, values in load_s.items()},
    )


def int8_cosines(sessions: Mapping[Precision, OnnxSession], pixels: Pixels) -> Figure:
    """Of int8 to fp32, for pictures that int8 was not calibrated with."""
    fp32, int8 = (embed_pictures(sessions[precision], pixels) for precision in PRECISIONS)
    return Figure.of(cosines(int8, fp32).tolist(), "cosine")


if __name__ == "__main__":
    sys.exit(main())
