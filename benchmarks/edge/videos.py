"""What the edge's benchmark plays: videos that are rendered once and kept in the cache."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import av.filter

from stack.cache import Report, cached_folder, digest_of

_SECONDS = 20


@dataclass(frozen=True)
class Video:
    """A camera's picture and rate; a key frame each second, no B-frames, as cameras send."""

    width: int
    height: int
    fps: int
    kbit_per_s: int

    @property
    def name(self) -> str:
        """For instance 1080p30."""
        return f"{self.height}p{self.fps}"


FULL_HD = Video(1920, 1080, fps=30, kbit_per_s=6_000)
SMALL = Video(640, 360, fps=30, kbit_per_s=1_200)


def cached_video(video: Video, report: Report = print) -> Path:
    """The H.264 file in the cache, rendered first when it is missing."""
    folder = cached_folder(
        "benchmarks-edge-video",
        digest_of(Path(__file__).read_bytes(), repr(video)),
        lambda temporary: _encode(video, temporary / "camera.mp4"),
        report=report,
        note=f"rendering {_SECONDS} s of {video.name} (once)",
    )
    return folder / "camera.mp4"


def _encode(video: Video, path: Path) -> None:
    source = _moving_picture(video)
    rate = f"{video.kbit_per_s}k"
    options = {"preset": "veryfast", "maxrate": rate, "bufsize": rate, "b": rate, "bf": "0"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=video.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.codec_context.gop_size = video.fps
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
