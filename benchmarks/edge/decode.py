"""What it saves to decode only the frames that are needed, in CPU time: of 30 frames a second, 5 are sampled.

Three sides take turns on the same file, in this process: the edge's reader, sampler, conversion and JPEG; the same with
every frame decoded; and a bare OpenCV loop, which grabs all and converts the sampled ones, without scaling or JPEG. A
rate is frames per second of CPU time, of all threads. What a stream costs beside that (network, the service, Kafka) is
in `capture`.
"""

import time
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2

from benchmarks.edge import videos
from benchmarks.edge.site import Site
from benchmarks.harness import Figure, Options, Rates, Results, take_turns
from edge.cameras import Camera
from edge.sources import Source
from edge.worker.gate import GateDecision
from edge.worker.prepare import prepare
from edge.worker.sampler import Sampler
from edge.worker.source import skips_nothing
from edge.worker.video import open_file
from framematch.core.errors import FramematchError
from framematch.core.settings import EdgeSettings

# By B-frames of the video: the share of a full decode's CPU time that is left.
GOALS = {videos.B_FRAMES: 0.75, 0: 1.05}


def measure(_site: Site, options: Options) -> Results:
    """CPU time with what is not needed left out, beside a full decode's and a bare loop's, on two videos."""
    cv2.setNumThreads(1)
    found = Results(settings={"sampled_fps": EdgeSettings().fps, "fps": videos.FPS})
    for b_frames in GOALS:
        path = videos.full_hd_video(b_frames=b_frames)
        sides = {
            "needed": partial(edge_rate, path, skip=True),
            "full_decode": partial(edge_rate, path, skip=False),
            "bare_capture": partial(bare_rate, path),
        }
        found.merge(
            "decode", "", results(b_frames, take_turns(f"decode, {b_frames} B-frames", sides, rounds=options.rounds))
        )
    return found


def results(b_frames: int, rates: Rates) -> Results:
    """Figures of rounds on a video with as many B-frames."""
    kind = f"b_frames_{b_frames}"
    found = Results(at_most={f"edge_cpu_vs_full_decode.{kind}": GOALS[b_frames]})
    for reference, name in (("full_decode", "edge_cpu_vs_full_decode"), ("bare_capture", "edge_cpu_vs_bare_decode")):
        # CPU time is the inverse of the rate.
        found.figures[f"{name}.{kind}"] = Figure.of([one[reference] / one["needed"] for one in rates], "ratio")
    for side in ("needed", "full_decode", "bare_capture"):
        cameras = [one[side] / videos.FPS for one in rates]
        found.figures[f"cameras_per_core.{side}.{kind}"] = Figure.of(cameras, "cameras")
    return found


def edge_rate(path: Path, *, skip: bool) -> float:
    """Frames per CPU second of what a camera's process does with a video, from the file to JPEGs."""
    settings = EdgeSettings()
    camera = Camera("benchmark", Source("file", str(path)), settings.fps, settings.max_side, settings.jpeg_quality)
    sampler = Sampler(camera.fps)
    frames = 0
    started_s = time.process_time()
    with closing(open_file(path, may_skip=sampler.is_surely_not_due if skip else skips_nothing)) as reader:
        while (grabbed := reader.grab()) is not None:
            frames += 1
            if grabbed.skipped or not sampler.accept(grabbed.media_s or 0.0):
                continue
            raw = reader.retrieve()
            if raw is None:
                raise FramematchError("a frame of the benchmark's video is damaged")
            prepare(raw, GateDecision(send=True), camera)
    return frames / (time.process_time() - started_s)


def bare_rate(path: Path) -> float:
    """Frames per CPU second of a loop around `cv2.VideoCapture`, with one decoder thread as the edge has."""
    every = round(videos.FPS / EdgeSettings().fps)
    frames = 0
    started_s = time.process_time()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while capture.grab():
        if frames % every == 0:
            capture.retrieve()
        frames += 1
    capture.release()
    return frames / (time.process_time() - started_s)
