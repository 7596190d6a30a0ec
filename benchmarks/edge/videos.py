"""Renders the videos that the edge's benchmark plays, once, and keeps them in the cache."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import av.filter

from framematch.stack.cache import cached_folder, digest_of

WIDTH, HEIGHT, FPS = 1920, 1080, 30
_SECONDS = 20


@dataclass(frozen=True)
class Video:
    """An H.264 video: pixels, frames a second, bits a second."""

    width: int
    height: int
    fps: int
    bit_rate: int

    @property
    def name(self) -> str:
        """Its size and rate: `640x360-10fps`."""
        return f"{self.width}x{self.height}-{self.fps}fps"


def full_hd_video() -> Path:
    """The H.264 file in the cache, rendered first when it is missing."""
    return render(Video(WIDTH, HEIGHT, FPS, 6_000_000))


def render(video: Video) -> Path:
    """The file of a video in the cache, rendered first when it is missing."""
    folder = cached_folder(
        f"benchmarks-edge-{video.name}",
        digest_of(Path(__file__).read_bytes(), repr(video).encode()),
        lambda temporary: _encode(video, temporary / f"{video.name}.mp4"),
        report=print,
        note=f"rendering {_SECONDS} s of video, {video.name} (once)",
    )
    return folder / f"{video.name}.mp4"


def _encode(video: Video, path: Path) -> None:
    source, rate = _moving_picture(video), str(video.bit_rate)
    # A key frame each second and no B-frames, as cameras send.
    options = {"preset": "veryfast", "maxrate": rate, "bufsize": rate, "b": rate, "bf": "0", "g": str(video.fps)}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=video.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for _ in range(_SECONDS * video.fps):
            container.mux(stream.encode(source.pull()))  # type: ignore[arg-type]  # pictures only in this graph
        container.mux(stream.encode(None))


def _moving_picture(video: Video) -> av.filter.Graph:
    """FFmpeg's moving test picture with noise as of indoor light, which keeps the bit rate at its limit."""
    graph = av.filter.Graph()
    filters = [
        graph.add("testsrc2", f"size={video.width}x{video.height}:rate={video.fps}"),
        graph.add("noise", "alls=8:allf=t"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ]
    for before, after in pairwise(filters):
        before.link_to(after)
    graph.configure()
    return graph
