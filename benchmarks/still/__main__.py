"""What reusing the decisions of still scenes saves, and what it costs: `python -m benchmarks.still`.

Every frame of the demo's feeds goes through the real model and index once. Then the frames are gone through as a
consumer with `reuse_static_regions` would, for several thresholds. Figures are of one camera each: the median, lowest
and highest of all cameras.
"""

import asyncio
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure as Canvas

from benchmarks.consumer.models import MODELS
from benchmarks.harness import Figure, argument_parser, describe_machine
from benchmarks.report import publish_figures
from benchmarks.results import Results
from benchmarks.still.feeds import SeenFrame, see_feeds
from benchmarks.still.replay import Outcome, least_difference, replay
from consumers.stages.scene_cache import MAX_DIFFERENCE
from demo.services import fill_catalogue, service_environment
from framematch.catalog.mongo import connect
from framematch.catalog.snapshot_store import load_snapshot
from framematch.core.errors import FramematchError
from framematch.core.local_stack import LocalStack
from framematch.core.logging import configure_logging
from framematch.core.settings import ConsumerSettings, MatchingSettings, MongoSettings
from framematch.core.settings_sources import require
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from stack.mongodb import MongoServer
from stack.triton import TritonServer
from stack.up import describe, running_servers

THRESHOLDS = (2, 4, MAX_DIFFERENCE, 8, 12, 16, 24)
REQUEST_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Plan:
    """Which feeds; the demo renders the quick ones too, and they are kept in the cache."""

    cameras: Sequence[int]
    seconds: float


QUICK = Plan(cameras=(1, 2), seconds=30)
FULL = Plan(cameras=range(1, 7), seconds=60)


def main() -> int:
    """Measure, print and write."""
    arguments = argument_parser("still", "Measure the reuse of still scenes on the demo's feeds.").parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are stopped on the way out
    plan = QUICK if arguments.quick else FULL
    machine = describe_machine()
    configure_logging("warning", "console", service="benchmark")
    try:
        with tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder:
            frames = see(plan, Path(folder))
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    max_age_s = ConsumerSettings().reuse_static_regions_s
    results = Results(settings={"cameras": list(plan.cameras), "seconds": plan.seconds, "max_age_s": max_age_s})
    results.figures = figures_of(frames, max_age_s)
    publish_figures(results, machine=machine, json_file=arguments.json)
    plot(results.figures, arguments.plot)
    print(f"Written: {arguments.plot}")
    return 0


def see(plan: Plan, folder: Path) -> list[SeenFrame]:
    """All frames of the plan's feeds, through the demo's model and the index of its catalogue.

    Raises:
        FramematchError: something did not start, or the model or the catalogue cannot be used.
    """
    MODELS["demo"].build(folder, max_batch_size=ConsumerSettings().batch_size)
    servers = (TritonServer(folder / "triton", folder / "model_repository"), MongoServer(folder / "mongodb"))
    with running_servers(servers, data_dir=folder, report=print):
        stack = describe(servers, log_dir=folder)
        fill_catalogue(service_environment(folder / "state", stack))
        return asyncio.run(_see(plan, stack, folder))


async def _see(plan: Plan, stack: LocalStack, folder: Path) -> list[SeenFrame]:
    uri, url = require(stack.mongodb_uri, "mongodb.uri"), require(stack.triton_url, "triton.url")
    async with (
        await connect(uri) as mongo,
        await ImageEncoder.connect(url, request_timeout_s=REQUEST_TIMEOUT_S) as encoder,
    ):
        snapshot = await load_snapshot(mongo[MongoSettings().database], folder / "snapshots")
        matcher = Matcher(snapshot, k=MatchingSettings().top_k)
        return await see_feeds(plan.cameras, plan.seconds, encoder=encoder, matcher=matcher)


def figures_of(frames: Sequence[SeenFrame], max_age_s: float) -> dict[str, Figure]:
    """By threshold; losses of accuracy are against the same frames, all inferred, and below 0 when it gained."""
    cameras: dict[int, list[SeenFrame]] = defaultdict(list)
    for frame in frames:
        cameras[frame.camera].append(frame)
    all_inferred = [replay(own, threshold=-1, max_age_s=max_age_s) for own in cameras.values()]
    figures = {
        f"all_inferred.{name}": Figure.of([getattr(camera, name) for camera in all_inferred], "share")
        for name in ("top1", "top5", "empty_taken")
    }
    for threshold in THRESHOLDS:
        reusing = [replay(own, threshold=threshold, max_age_s=max_age_s) for own in cameras.values()]
        pairs = list(zip(all_inferred, reusing, strict=True))
        for name, values in _measures(pairs).items():
            figures[f"threshold_{threshold}.{name}"] = Figure.of(values, "share")
    figures["least_difference_between_products"] = Figure.of([least_difference(frames)], "levels")
    return figures


def _measures(pairs: Sequence[tuple[Outcome, Outcome]]) -> dict[str, list[float]]:
    return {
        "inferences_saved": [reusing.saved for _, reusing in pairs],
        "decisions_changed": [reusing.changed for _, reusing in pairs],
        "top1_lost": [inferred.top1 - reusing.top1 for inferred, reusing in pairs],
        "top5_lost": [inferred.top5 - reusing.top5 for inferred, reusing in pairs],
        "empty_taken_more": [reusing.empty_taken - inferred.empty_taken for inferred, reusing in pairs],
    }


def plot(figures: Mapping[str, Figure], path: Path) -> None:
    """What is saved, and what is lost, over the threshold; bars reach from the lowest camera to the highest. A PNG."""
    canvas = Canvas(figsize=(6, 7), layout="constrained")
    saved, lost = canvas.subplots(2, 1, sharex=True)
    for axes, names in ((saved, ("inferences_saved",)), (lost, ("decisions_changed", "top1_lost", "top5_lost"))):
        for name in names:
            rows = [figures[f"threshold_{threshold}.{name}"] for threshold in THRESHOLDS]
            middle = [100 * row.median for row in rows]
            ends = [[100 * (row.median - row.low) for row in rows], [100 * (row.high - row.median) for row in rows]]
            axes.errorbar(THRESHOLDS, middle, yerr=ends, fmt="o-", capsize=3, label=name.replace("_", " "))
        axes.axvline(MAX_DIFFERENCE, color="green", linestyle=":", label="the consumer's threshold")
        axes.set(ylabel="%")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    lost.set(xlabel="threshold, levels of 255")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
