"""What a camera costs: CPU time beside a bare OpenCV loop on the same stream, cameras per core, memory.

The edge, with all its processes, and the bare loop run side by side, and a round is what both used in the same seconds.
The edge does more in its time: it scales, encodes and publishes.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean

from benchmarks.edge import videos
from benchmarks.edge.site import Site, playing, running_edge
from benchmarks.harness import Figure, Options, Results
from benchmarks.processes import check, group_cpu_s, group_pss_mb
from demo.services import Service
from framematch.core.settings import EdgeSettings
from framematch.stack.process import Command, ServerProcess

GOAL = 1.2
CAMERAS = 4
_SETTLE_S = 3.0  # imports end, decoders fill
_MIN_SHARE = 0.95  # of the source's frames; an edge that decodes fewer saves CPU time by falling behind


@dataclass(frozen=True)
class Window:
    """What an edge did in some seconds: cores used by all its processes, frames a second from the source, memory.

    `bare_cores` were used by the bare loop beside it, if there was one.
    """

    cores: float
    source_fps: float
    pss_mb: float
    bare_cores: float = 0.0


def measure(site: Site, options: Options) -> Results:
    """Ratio of CPU times, cameras per core, and memory of one more camera."""
    window_s = 2.5 if options.quick else 15.0
    with playing(site, videos.full_hd_video()) as url:
        with running_edge(site, site.kafka.new_topics(), url, cameras=1) as edge, running_bare(site, url) as bare:
            time.sleep(_SETTLE_S)
            one = [_window(edge, window_s, bare) for _ in range(options.rounds)]
        with running_edge(site, site.kafka.new_topics(), url, cameras=CAMERAS) as edge:
            time.sleep(_SETTLE_S)
            many = [_window(edge, window_s) for _ in range(options.rounds)]
    found = results(one, many)
    found.settings = {"sampled_fps": EdgeSettings().fps, "cameras": CAMERAS}
    return found


def results(one: Sequence[Window], many: Sequence[Window]) -> Results:
    """Figures of windows with one camera, beside the bare loop, and with `CAMERAS`."""
    found = Results(at_most={"edge_cpu_vs_bare_capture": GOAL})
    if _kept_up(one, 1):
        cores = [{"edge": window.cores, "bare_capture": window.bare_cores} for window in one]
        found.compare("edge_cpu_vs_bare_capture", "edge", "bare_capture", cores, "cores")
        found.figures["cameras_per_core.1_camera"] = Figure.of([1 / window.cores for window in one], "cameras")
    else:
        found.missing["edge_cpu_vs_bare_capture"] = "one camera's frames were not all decoded: this machine is too slow"
    if _kept_up(many, CAMERAS):
        found.figures["cameras_per_core"] = Figure.of([CAMERAS / window.cores for window in many], "cameras")
    else:
        found.missing["cameras_per_core"] = f"{CAMERAS} cameras are too many for this machine"
    slopes = [(more.pss_mb - single.pss_mb) / (CAMERAS - 1) for single, more in zip(one, many, strict=True)]
    found.figures["memory_per_camera_mb"] = Figure.of(slopes, "MB")
    for name, windows in {"1_camera": one, f"{CAMERAS}_cameras": many}.items():
        found.figures[f"memory_mb.{name}"] = Figure.of([window.pss_mb for window in windows], "MB")
    return found


def _kept_up(windows: Sequence[Window], cameras: int) -> bool:
    """Over all windows: a frame that is late for one is counted in the next."""
    return mean(window.source_fps for window in windows) >= _MIN_SHARE * cameras * videos.FPS


def _window(edge: Service, window_s: float, bare: ServerProcess | None = None) -> Window:
    before, started_s = _totals(edge, bare), time.monotonic()
    time.sleep(window_s)
    after, elapsed_s = _totals(edge, bare), time.monotonic() - started_s
    cores, source_fps, bare_cores = ((now - then) / elapsed_s for now, then in zip(after, before, strict=True))
    return Window(cores, source_fps, group_pss_mb(edge.pid), bare_cores)


def _totals(edge: Service, bare: ServerProcess | None) -> tuple[float, float, float]:
    """CPU seconds of the edge, frames from its sources, and CPU seconds of the bare loop, so far."""
    if bare:
        check(bare, "the bare loop")
    frames = sum(edge.metric("framematch_edge_source_frames_total"))
    return group_cpu_s(edge.pid), frames, group_cpu_s(bare.pid) if bare else 0.0


@contextmanager
def running_bare(site: Site, url: str) -> Iterator[ServerProcess]:
    """The bare loop on `url` while the block runs."""
    every = str(round(videos.FPS / EdgeSettings().fps))
    command = Command((sys.executable, "-m", "benchmarks.edge.bare", url, every))
    process = ServerProcess(command, site.folder / "bare.log")
    try:
        yield process
    finally:
        process.stop()
