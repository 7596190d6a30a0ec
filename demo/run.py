"""`make demo`: the whole product on this machine, from two RTSP cameras to match events, with a verdict."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from demo.dataset import BUNDLE_DIR, load_photos
from demo.feed import render_feed
from demo.rest import Sample, match_by_rest
from demo.schedule import FeedSchedule, make_schedule
from demo.services import (
    Service,
    active_calibration,
    calibrate,
    fill_catalogue,
    run_framematch,
    running_publisher,
    running_service,
    service_environment,
)
from demo.subscriber import Subscriber
from demo.verdict import Verdict, judge
from framematch.catalog.snapshots.calibration import ImpostorSource
from framematch.core.errors import FramematchError
from framematch.core.local_stack import LocalStack
from framematch.core.redact import redact_uncaught
from framematch.core.settings import KafkaSettings
from framematch.stack.process import ServerProcess
from framematch.stack.up import running_stack

CAMERAS = (1, 2)
_SETTLED_S = 1.5  # without new frames for this time, the streams have ended
_PROCESSING_DEADLINE_S = 30.0
_POLL_S = 0.25
_SOURCES: dict[ImpostorSource, str] = {
    "siblings": "products left out of the search",
    "unseen": "products that the catalogue lacks",
    "nothing": "empty frames",
}

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Services:
    """The services of the demo, each a process."""

    edge: Service
    consumer: Service
    api: Service
    archive: Service

    @property
    def all(self) -> tuple[Service, ...]:
        """All of them."""
        return self.edge, self.consumer, self.api, self.archive


def main() -> int:
    """Run the demo; the exit code is 1 when a frame was lost, or there was no match."""
    redact_uncaught()
    parser = argparse.ArgumentParser(prog="python -m demo.run", description="Run framematch on this machine.")
    parser.add_argument("--seconds", type=_length_s, default=30.0, help="length of the camera feeds (default 30)")
    arguments = parser.parse_args()
    # SIGTERM too stops the servers before the exit.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="framematch-demo-"))
    try:
        verdict = run(arguments.seconds, folder)
    except KeyboardInterrupt:
        console.print("\nStopped. All processes of the demo have ended.")
        shutil.rmtree(folder)
        return 130
    except FramematchError as error:
        console.print(f"\n[bold red]The demo failed:[/] {error}\nLogs: {folder}")
        return error.exit_code
    return report(verdict, folder)


def run(seconds: float, folder: Path) -> Verdict:
    """Set everything up in `folder`, play the feeds, and judge the results.

    Raises:
        FramematchError: a process did not start, or ended early; the message has the end of its log.
    """
    schedules = [make_schedule(load_photos(), camera=camera, seconds=seconds) for camera in CAMERAS]
    with ExitStack() as running:
        pool = running.enter_context(ThreadPoolExecutor(len(CAMERAS)))
        rendering = [pool.submit(render_feed, schedule) for schedule in schedules]
        stack = _start_servers(running, folder)
        environment = service_environment(folder / "state", stack)
        fill_catalogue(environment)
        calibrate(environment, CAMERAS, folder / "calibration")
        calibration = active_calibration(environment)
        urls = [f"{stack.rtsp_url}/till-{camera}" for camera in CAMERAS]
        cameras = [part for url in urls for part in ("--camera", f"{url.rsplit('/', 1)[1]}={url}")]
        consumer = running.enter_context(running_service("consume", environment=environment, logs=folder))
        api = running.enter_context(_running_api(environment, folder))
        archive = running.enter_context(running_service("archive", environment=environment, logs=folder))
        feeds = _finished(rendering)
        for service in (consumer, api, archive):
            service.wait_ready()
        console.print(
            f"\nREST API at {api.url}, without a key, as only this machine reaches it; every path is at /docs."
        )
        publishers = [
            running.enter_context(running_publisher(feed, url, folder)) for feed, url in zip(feeds, urls, strict=True)
        ]
        edge = running.enter_context(running_service("edge", *cameras, environment=environment, logs=folder))
        edge.wait_ready()
        kafka = KafkaSettings(bootstrap_servers=stack.kafka_bootstrap_servers)
        subscriber = Subscriber(kafka, dict(zip(CAMERAS, schedules, strict=True)), console)
        console.print(f"\nPlaying {len(feeds)} feeds of {seconds:g} s; each line ends with what was really in view:\n")
        services = Services(edge, consumer, api, archive)
        verdict = asyncio.run(_observe(subscriber, publishers, services, schedules))
        return replace(verdict, calibration=calibration)


def _start_servers(running: ExitStack, folder: Path) -> LocalStack:
    console.print("Starting Kafka, Triton, a MongoDB-compatible server and an RTSP server on this machine.")
    models = folder / "model_repository"
    environment = service_environment(folder / "state")
    run_framematch("model", "build", "--from", str(BUNDLE_DIR), "--out", str(models), environment=environment)
    return running.enter_context(running_stack(data_dir=folder / "stack", model_repository=models))


def _running_api(environment: Mapping[str, str], folder: Path) -> AbstractContextManager[Service]:
    return running_service("api", environment={**environment, "FRAMEMATCH_API__AUTH": "none"}, logs=folder)


def _finished(rendering: Sequence[Future[Path]]) -> list[Path]:
    if not all(feed.done() for feed in rendering):
        console.print("\nRendering the camera feeds (only once: they are cached) …")
    return [feed.result() for feed in rendering]


async def _observe(
    subscriber: Subscriber,
    publishers: Sequence[ServerProcess],
    services: Services,
    schedules: Sequence[FeedSchedule],
) -> Verdict:
    """Wait until the feeds have ended and every published frame is processed, then stop the services."""
    gpu_percent: list[float] = []
    subscribed = asyncio.Event()
    reading = asyncio.create_task(subscriber.run(subscribed))
    edge, consumer = services.edge, services.consumer
    try:
        while any(publisher.running for publisher in publishers):
            await asyncio.sleep(_POLL_S)
            for service in services.all:
                service.check()
            gpu_percent += await asyncio.to_thread(consumer.metric, "framematch_gpu_utilisation_percent")
        captured, dropped = await _settled(edge)
        await asyncio.to_thread(edge.stop)
        with contextlib.suppress(TimeoutError):  # the verdict counts what is missing
            await asyncio.wait_for(subscriber.all_processed(captured - dropped), _PROCESSING_DEADLINE_S)
        rest_agrees = await _ask_api(services.api, subscriber.sample)
        for service in (consumer, services.api, services.archive):
            await asyncio.to_thread(service.stop)
    finally:
        reading.cancel()
        await asyncio.wait({reading})
    if not reading.cancelled():
        reading.result()
    return judge(
        subscriber.seen, schedules, captured=captured, dropped=dropped, gpu_percent=gpu_percent, rest_agrees=rest_agrees
    )


async def _ask_api(api: Service, sample: Sample | None) -> bool | None:
    """Match the picture of a frame by REST, and show the answer beside the stream's."""
    if sample is None:
        return None
    found, event = await match_by_rest(api.url, sample.picture), sample.event
    console.print(
        f"\n$ curl -F image=@frame.jpg {api.url}/v1/match      # the picture of a frame of {event.frame.camera}\n"
        f"by REST:       {found.decision} {found.product} {found.score:.3f}\n"
        f"by the stream: {event.decision} {event.product.id if event.product else None} {event.score or 0:.3f}"
    )
    return found.agrees(event)


async def _settled(edge: Service) -> tuple[int, int]:
    """The edge's counts of captured and dropped frames, once they no longer change."""
    loop = asyncio.get_running_loop()
    captured, since = -1, loop.time()
    while loop.time() - since < _SETTLED_S:
        now = int(sum(await asyncio.to_thread(edge.metric, "framematch_edge_frames_captured_total")))
        if now != captured:
            captured, since = now, loop.time()
        await asyncio.sleep(_POLL_S)
    return captured, int(sum(await asyncio.to_thread(edge.metric, "framematch_edge_frames_dropped_total")))


def report(verdict: Verdict, folder: Path) -> int:
    """Print the verdict as a table, and at the end as one line of JSON."""
    table = Table("Verdict", "", box=None, show_header=False, title_justify="left")
    for name, value in _lines(verdict):
        table.add_row(name, f"[bold]{value}[/]")
    console.print()
    console.print(table)
    console.print(
        "\nThe demo's model is a small one, fitted to 2,640 photos of these products.\n"
        "With CLIP: framematch model build --hub openai/clip-vit-base-patch32 (docs/models.md)."
    )
    for problem in verdict.problems:
        console.print(f"[bold red]Failed:[/] {problem}. Logs: {folder}")
    if not verdict.problems:
        shutil.rmtree(folder)
    print(msgspec.json.encode(verdict).decode(), flush=True)
    return 1 if verdict.problems else 0


def _lines(verdict: Verdict) -> list[tuple[str, str]]:
    decisions = ", ".join(f"{count} {kind}" for kind, count in sorted(verdict.decisions.items()))
    gpu = verdict.gpu_utilisation_percent
    return [
        ("frames captured", f"{verdict.frames_captured} from {verdict.cameras} cameras in {verdict.seconds:g} s"),
        ("frames published", f"{verdict.frames_published} ({verdict.frames_dropped} dropped at the edge)"),
        ("frames matched", f"{verdict.frames_matched} ({decisions or 'no decision'})"),
        ("frames lost", f"{verdict.frames_lost}, {verdict.dead_letters} dead letters, {verdict.repeats} repeats"),
        ("top-1, top-5", f"{_percent(verdict.top1)}, {_percent(verdict.top5)} of {verdict.frames_judged} frames"),
        *_rates(verdict),
        (
            "the same picture by REST",
            {True: "same decision", False: "another decision", None: "-"}[verdict.rest_agrees],
        ),
        ("camera to match event", f"p50 {_ms(verdict.latency_p50_ms)}, p99 {_ms(verdict.latency_p99_ms)}"),
        ("GPU utilisation", "no GPU on this machine" if gpu is None else f"{gpu:.0f} %"),
    ]


def _rates(verdict: Verdict) -> list[tuple[str, str]]:
    """Stated rates, and what became of them: on pictures that were held out, and on the feeds."""
    found = []
    if (stated := verdict.calibration) is not None:
        realised = [
            f"{_percent(one.accepted.rate)} of {one.accepted.pictures} {_SOURCES[one.source]}"
            for one in stated.sources
            if one.accepted.pictures
        ]
        found = [
            (
                "stated at most",
                f"{_percent(stated.rate)} of strangers accepted, {_percent(stated.mixup_rate)} mixed up",
            ),
            ("realised on held-out frames", ", ".join(realised)),
        ]
    return [
        *found,
        ("another product matched", _percent(verdict.wrong_product)),
        ("empty belt matched as a product", _percent(verdict.empty_taken_for_product)),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _length_s(text: str) -> float:
    seconds = float(text)
    if not 5 <= seconds <= 3600:  # noqa: PLR2004  # shorter shows no product, longer fills the disk
        raise argparse.ArgumentTypeError("give 5 to 3600 seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
