"""Renders the Full HD video that the edge's benchmark plays, once, and keeps it in the cache."""

from itertools import pairwise
from pathlib import Path

import av
import av.filter

from framematch.stack.cache import cached_folder, digest_of

WIDTH, HEIGHT, FPS = 1920, 1080, 30
_SECONDS = 20
_BIT_RATE = "6M"
# A key frame each second and no B-frames, as cameras send.
_ENCODER = {"preset": "veryfast", "maxrate": _BIT_RATE, "bufsize": _BIT_RATE, "b": _BIT_RATE, "bf": "0", "g": str(FPS)}


def full_hd_video() -> Path:
    """The H.264 file in the cache, rendered first when it is missing."""
    folder = cached_folder(
        "benchmarks-edge-video",
        digest_of(Path(__file__).read_bytes()),
        lambda temporary: _encode(temporary / "full-hd.mp4"),
        report=print,
        note=f"rendering {_SECONDS} s of Full HD video (once)",
    )
    return folder / "full-hd.mp4"


def _encode(path: Path) -> None:
    source = _moving_picture()
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=_ENCODER)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(_SECONDS * FPS):
            container.mux(stream.encode(source.pull()))  # type: ignore[arg-type]  # pictures only in this graph
        container.mux(stream.encode(None))


def _moving_picture() -> av.filter.Graph:
    """FFmpeg's moving test picture with noise as of indoor light, which keeps the bit rate at its limit."""
    graph = av.filter.Graph()
    filters = [
        graph.add("testsrc2", f"size={WIDTH}x{HEIGHT}:rate={FPS}"),
        graph.add("noise", "alls=8:allf=t"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ]
    for before, after in pairwise(filters):
        before.link_to(after)
    graph.configure()
    return graph
