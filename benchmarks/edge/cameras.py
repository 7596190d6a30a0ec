"""How many cameras one edge carries: 10 to 200 of them at 5 frames a second from real RTSP streams to real Kafka.

A few published streams are read by all cameras, of two sorts: 640 x 360 as a camera's second stream has it, and small
ones, which cost the cameras so little that the limits of the service show. Kafka and the RTSP server run on the same
cores, and their CPU time is measured apart. Where `machine` is as much as there are cores, CPU time is the limit. After
a number of cameras that do not reach their frame rate no higher number is tried.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import aiohttp
from rich.console import Console
from rich.table import Table

from benchmarks.edge.latency import latencies_ms
from benchmarks.edge.site import Site, playing, starting_edge
from benchmarks.edge.videos import Video, render
from benchmarks.frames import partition_of
from benchmarks.harness import Figure, Options, Results, percentile
from benchmarks.kafka import reading
from benchmarks.processes import group_cpu_s, group_use, machine_cpu_s
from demo.services import Service
from framematch.core.errors import FramematchError
from framematch.core.settings import EdgeSettings
from framematch.core.units import MS_PER_S

VIDEOS = (Video(640, 360, 10, 800_000), Video(160, 90, 5, 60_000))
COUNTS = (10, 25, 50, 100, 200)
# Of the wanted frames. A window has a frame more or less of each camera, and cameras of one stream have it together.
REACHED = 0.9
_STREAMS = 4
_OPEN_S = 60.0  # for all cameras
_SETTLE_S = 5.0
_POLL_S = 0.25
_PROBE_S = 0.05
_PREFIX = "framematch_edge_"


@dataclass(frozen=True)
class Reading:
    """What was used and counted up to one moment; CPU in seconds, memory in MB."""

    at_s: float
    cpu_s: Mapping[str, float]
    counts: Mapping[str, float]
    service_mb: float
    cameras_mb: float
    processes: int
    threads: int
    files: int


@dataclass(frozen=True)
class Window:
    """What happened between two readings: cores in use by process, events a second by name, times in ms."""

    cores: Mapping[str, float]
    rates: Mapping[str, float]
    ages_ms: list[float]
    answers_ms: list[float]
    end: Reading


def measure(site: Site, options: Options) -> Results:
    """Figures of each number of cameras, for both sorts of streams."""
    found = Results(settings={"fps": EdgeSettings().fps, "videos": [video.name for video in VIDEOS]})
    table = _new_table()
    for video in VIDEOS:
        with _playing_streams(site, video) as urls:
            for cameras in COUNTS[: -1 if options.quick else None]:
                name = f"{video.name}.{cameras}"
                try:
                    open_s, windows = asyncio.run(_run(site, options, urls, cameras))
                except (
                    FramematchError,
                    OSError,
                    aiohttp.ClientError,
                ) as error:  # so overloaded that it does not answer
                    found.missing[name] = str(error) or type(error).__name__
                    break
                found.figures |= {f"{name}.{key}": figure for key, figure in figures(cameras, windows).items()}
                found.figures[f"{name}.open_s"] = Figure.of([open_s], "s")
                _add_row(table, name, found.figures)
                print(f"{name}: {found.figures[f'{name}.reached'].median:.0%} of the frames", flush=True)
                if found.figures[f"{name}.reached"].median < REACHED:
                    break
    Console(width=200, highlight=False).print(table)
    return found


def figures(cameras: int, windows: list[Window]) -> dict[str, Figure]:
    """What the windows with this many cameras have in common."""
    wanted = cameras * EdgeSettings().fps

    def of(unit: str, values: Iterator[float]) -> Figure:
        return Figure.of(list(values), unit)

    found = {
        "wanted": of("frames/s", (wanted for _ in windows)),
        "published": of("frames/s", (w.rates["published"] for w in windows)),
        "reached": of("ratio", (w.rates["published"] / wanted for w in windows)),
    }
    for name in sorted({name for window in windows for name in window.rates if name != "published"}):
        found[name] = of("events/s", (w.rates.get(name, 0.0) for w in windows))
    for name in windows[0].cores:
        found[f"cores.{name}"] = of("cores", (w.cores[name] for w in windows))
    heard = [window for window in windows if window.ages_ms]  # an overloaded edge may send nothing for a while
    shown = (50, 99) if heard else ()
    edge = [(w.cores["service"] + w.cores["cameras"]) * MS_PER_S / max(w.rates["published"], 1.0) for w in windows]
    return found | {
        "cpu_per_frame": Figure.of(edge, "ms"),
        "service_per_camera": of("millicores", (w.cores["service"] * 1e3 / cameras for w in windows)),
        "memory.service": of("MB", (w.end.service_mb for w in windows)),
        "memory.camera": of("MB", (w.end.cameras_mb / cameras for w in windows)),
        "files": of("files", (w.end.files for w in windows)),
        "processes": of("processes", (w.end.processes for w in windows)),
        "threads": of("threads", (w.end.threads for w in windows)),
        **{f"age.p{percent}": Figure.of([percentile(w.ages_ms, percent) for w in heard], "ms") for percent in shown},
        "answer.p50": of("ms", (percentile(w.answers_ms, 50) for w in windows)),
        "answer.p99": of("ms", (percentile(w.answers_ms, 99) for w in windows)),
    }


@contextmanager
def _playing_streams(site: Site, video: Video) -> Iterator[list[str]]:
    file = render(video)
    with ExitStack() as stack:
        yield [stack.enter_context(playing(site, file, f"{video.name}-{n}")) for n in range(_STREAMS)]


async def _run(site: Site, options: Options, urls: list[str], cameras: int) -> tuple[float, list[Window]]:
    """Seconds until all cameras are open, and what happened in each round after that."""
    kafka = site.kafka.new_topics().model_copy(update={"frames_retention_minutes": 1.0})
    sources = {f"camera-{number}": urls[number % len(urls)] for number in range(cameras)}
    sampled = partition_of("camera-0", kafka.partitions)
    with starting_edge(site, kafka, sources) as edge:
        edge.wait_ready(_OPEN_S)
        open_s = _wait_open(edge, cameras)
        await asyncio.sleep(_SETTLE_S)
        async with reading(kafka, "frames", only=[sampled]) as frames, aiohttp.ClientSession(edge.url) as client:
            windows = []
            for _ in range(options.rounds):
                before = await asyncio.to_thread(_read, site, edge)
                window_s = 3.0 if options.quick else 5.0
                ages, answers = await asyncio.gather(latencies_ms(frames, window_s), _answers_ms(client, window_s))
                windows.append(_between(before, await asyncio.to_thread(_read, site, edge), ages, answers))
    return open_s, windows


def _wait_open(edge: Service, cameras: int) -> float:
    """Seconds from now until every camera is open."""
    started_s = time.monotonic()
    while (opened := sum(edge.metric(f"{_PREFIX}camera_up"))) < cameras:
        edge.check()
        if time.monotonic() - started_s > _OPEN_S:
            raise FramematchError(f"{opened:.0f} of {cameras} cameras were open after {_OPEN_S:g} s")
        time.sleep(_POLL_S)
    return time.monotonic() - started_s


async def _answers_ms(client: aiohttp.ClientSession, window_s: float) -> list[float]:
    """How long the service takes to answer /healthz, which needs only a free event loop."""
    end_s, found = time.monotonic() + window_s, []
    while (asked_s := time.monotonic()) < end_s:
        async with client.get("/healthz") as answer:
            await answer.read()
        found.append((time.monotonic() - asked_s) * MS_PER_S)
        await asyncio.sleep(_PROBE_S)
    return found


def _read(site: Site, edge: Service) -> Reading:
    counts: defaultdict[str, float] = defaultdict(float)
    for sample in edge.samples():
        match sample.name.removeprefix(_PREFIX):
            case "frames_published_total":
                counts["published"] += sample.value
            case "reconnects_total":
                counts["reconnects"] += sample.value
            case "frames_dropped_total":
                counts[f"dropped.{sample.labels['reason']}"] += sample.value
    found = group_use(edge.pid)
    service = found.pop(edge.pid)
    pictures = [use for use in found.values() if use.title.startswith("framematch camera")]
    cpu_s = {
        "service": service.cpu_s,
        "cameras": sum(use.cpu_s for use in found.values()),
        "mediamtx": group_cpu_s(site.rtsp.pid),
        "broker": group_cpu_s(site.kafka.pid),
        "machine": machine_cpu_s(),
    }
    return Reading(
        time.monotonic(),
        cpu_s,
        counts,
        service.pss_mb,
        sum(use.pss_mb for use in pictures),
        1 + len(found),
        service.threads + sum(use.threads for use in found.values()),
        service.files,
    )


def _between(before: Reading, after: Reading, ages_ms: list[float], answers_ms: list[float]) -> Window:
    elapsed_s = after.at_s - before.at_s
    cores = {name: (after.cpu_s[name] - before.cpu_s[name]) / elapsed_s for name in after.cpu_s}
    rates = {name: (after.counts[name] - before.counts.get(name, 0.0)) / elapsed_s for name in after.counts}
    return Window(cores, rates | {"published": rates.get("published", 0.0)}, ages_ms, answers_ms, after)


_COLUMNS = {
    "frames/s": ("published",),
    "reached": ("reached",),
    "overrun/s": ("dropped.overrun",),
    "cores: service": ("cores.service",),
    "cameras": ("cores.cameras",),
    "mediamtx": ("cores.mediamtx",),
    "broker": ("cores.broker",),
    "machine": ("cores.machine",),
    "ms/frame": ("cpu_per_frame",),
    "MB: service": ("memory.service",),
    "camera": ("memory.camera",),
    "files": ("files",),
    "processes": ("processes",),
    "threads": ("threads",),
    "age ms p50, p99": ("age.p50", "age.p99"),
    "answer ms p50, p99": ("answer.p50", "answer.p99"),
    "open s": ("open_s",),
}


def _new_table() -> Table:
    table = Table("cameras", *_COLUMNS, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _add_row(table: Table, name: str, found: Mapping[str, Figure]) -> None:
    def value(key: str) -> str:
        figure = found.get(f"{name}.{key}")
        return "0" if figure is None else f"{figure.median:.3g}"

    table.add_row(name, *(", ".join(map(value, keys)) for keys in _COLUMNS.values()))
