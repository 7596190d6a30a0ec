"""What a camera costs: CPU time beside a bare cv2 loop on the same stream at the same time, cameras per core, memory.

The edge, with all the processes that it starts, and the bare loop run side by side, and a round is what both of them
used in the same seconds. The edge does more for its time: it scales, encodes and publishes.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean

from benchmarks.edge.site import Edge, Site, playing, running_edge
from benchmarks.edge.videos import FULL_HD, Video, cached_video
from benchmarks.harness import Comparison, Figure, Round
from benchmarks.processes import tree_cpu_s
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.settings import EdgeSettings
from stack.process import Command, ServerProcess

GOAL = 1.2
_SETTLE_S = 3.0  # decoders fill, imports end
_LEAST_SHARE = 0.95  # of the source's frames; an edge that decodes less has saved CPU time by falling behind


@dataclass(frozen=True)
class Plan:
    """`rounds` times `window_s` with one camera, and as many with `cameras`."""

    rounds: int
    window_s: float
    cameras: int = 4


@dataclass(frozen=True)
class Window:
    """What an edge did in some seconds: cores used by all its processes, of which the source had `source_fps`."""

    cores: float
    source_fps: float
    pss_mb: float


def measure_capture(site: Site, plan: Plan) -> Results:
    """Ratio of CPU times, cameras per core, and memory of one more camera.

    Raises:
        FramematchError: something did not start, or ended.
    """
    with playing(site, cached_video(FULL_HD), "full-hd") as stream:
        with running_edge(site, stream.url, cameras=1) as edge, running_bare(site, stream.url) as bare:
            time.sleep(_SETTLE_S)
            beside = [_beside(edge, bare, plan.window_s) for _ in range(plan.rounds)]
        with running_edge(site, stream.url, cameras=plan.cameras) as edge:
            time.sleep(_SETTLE_S)
            many = [_window(edge, plan.window_s) for _ in range(plan.rounds)]
    return results(beside, many, plan, FULL_HD)


def results(beside: list[tuple[Window, float]], many: list[Window], plan: Plan, video: Video) -> Results:
    """Figures of the windows: with one camera beside the cores of the bare loop, and with `plan.cameras`."""
    found = Results()
    ones = [window for window, _ in beside]
    if _kept_up(ones, 1, video):
        rounds = tuple(Round(window.cores, bare) for window, bare in beside)
        found.add(Comparison("edge_cpu_vs_bare_capture", "edge", "bare_capture", "cores", rounds), at_most=GOAL)
        found.figures["cameras_per_core.1_camera"] = Figure.of([1 / window.cores for window in ones], "cameras")
    else:
        found.missing["edge_cpu_vs_bare_capture"] = "one camera's frames were not all decoded: this machine is too slow"
    if _kept_up(many, plan.cameras, video):
        per_core = [plan.cameras / window.cores for window in many]
        found.figures["cameras_per_core"] = Figure.of(per_core, "cameras")
    else:
        found.missing["cameras_per_core"] = f"{plan.cameras} cameras are too many for this machine"
    slopes = [(more.pss_mb - one.pss_mb) / (plan.cameras - 1) for one, more in zip(ones, many, strict=True)]
    found.figures |= {
        "memory_per_camera_mb": Figure.of(slopes, "MB"),
        "memory_mb.1_camera": Figure.of([window.pss_mb for window in ones], "MB"),
        f"memory_mb.{plan.cameras}_cameras": Figure.of([window.pss_mb for window in many], "MB"),
        "source_fps.1_camera": Figure.of([window.source_fps for window in ones], "frames/s"),
        f"source_fps.{plan.cameras}_cameras": Figure.of([window.source_fps for window in many], "frames/s"),
    }
    found.settings = {
        "video": video.name,
        "kbit_per_s": video.kbit_per_s,
        "sampled_fps": EdgeSettings().fps,
        "cameras": plan.cameras,
        "rounds": plan.rounds,
        "window_s": plan.window_s,
    }
    return found


def _kept_up(windows: list[Window], cameras: int, video: Video) -> bool:
    """Over all windows: one that is late by a frame or two makes up for it in the next."""
    return mean(window.source_fps for window in windows) >= _LEAST_SHARE * cameras * video.fps


def _beside(edge: Edge, bare: ServerProcess, window_s: float) -> tuple[Window, float]:
    """What both did in the same seconds; the second is the cores of the bare loop."""
    before_s, began_s = tree_cpu_s(bare.pid), time.monotonic()
    window = _window(edge, window_s)
    if not bare.running:
        raise FramematchError(f"the bare loop ended with exit code {bare.exit_code}", hint=f"See {bare.log_file}")
    return window, (tree_cpu_s(bare.pid) - before_s) / (time.monotonic() - began_s)


def _window(edge: Edge, window_s: float) -> Window:
    before_s, frames, began_s = edge.cpu_s(), edge.total("source_frames_total"), time.monotonic()
    time.sleep(window_s)
    elapsed_s = time.monotonic() - began_s
    return Window(
        cores=(edge.cpu_s() - before_s) / elapsed_s,
        source_fps=(edge.total("source_frames_total") - frames) / elapsed_s,
        pss_mb=edge.pss_mb(),
    )


@contextmanager
def running_bare(site: Site, url: str) -> Iterator[ServerProcess]:
    """The bare loop on `url` while the block runs."""
    every = str(round(FULL_HD.fps / EdgeSettings().fps))
    command = Command((sys.executable, "-m", "benchmarks.edge.bare", url, "--every", every))
    process = ServerProcess(command, site.folder / "bare.log")
    try:
        yield process
    finally:
        process.stop()
