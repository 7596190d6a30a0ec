"""Renders the videos that the edge's benchmark plays, once, and keeps them in the cache."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import av.filter
from av.video.frame import PictureType

from framematch.stack.cache import cached_folder, digest_of

WIDTH, HEIGHT, FPS = 1920, 1080, 30
B_FRAMES = 3
_SECONDS = 20


@dataclass(frozen=True)
class Video:
    """An H.264 video: pixels, frames a second, bits a second, and B-frames between two others.

    No other frame refers to the first and the last of three B-frames.
    """

    width: int
    height: int
    fps: int
    bit_rate: int
    b_frames: int = 0

    @property
    def name(self) -> str:
        """Its size and rate, and B-frames if it has any: `640x360-10fps`."""
        b_frames = f"-{self.b_frames}b" if self.b_frames else ""
        return f"{self.width}x{self.height}-{self.fps}fps{b_frames}"


def full_hd_video(*, b_frames: int = 0) -> Path:
    """The H.264 file in the cache, rendered first when it is missing."""
    return render(Video(WIDTH, HEIGHT, FPS, 6_000_000, b_frames))


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
    # A key frame each second, as cameras send.
    options = {"preset": "veryfast", "maxrate": rate, "bufsize": rate, "b": rate, "g": str(video.fps)}
    options["x264-params"] = f"bframes={video.b_frames}:b-adapt=0:scenecut=0"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=video.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for _ in range(_SECONDS * video.fps):
            picture = source.pull()
            # The graph marks each picture as one that stands alone, and the encoder would obey.
            picture.pict_type = PictureType.NONE  # type: ignore[union-attr]  # pictures only in this graph
            container.mux(stream.encode(picture))  # type: ignore[arg-type]  # as above
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
