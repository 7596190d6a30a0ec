"""Renders the Full HD videos that the edge's benchmark plays, once, and keeps them in the cache."""

from itertools import pairwise
from pathlib import Path

import av
import av.filter

from framematch.stack.cache import cached_folder, digest_of

WIDTH, HEIGHT, FPS = 1920, 1080, 30
B_FRAMES = 3
_SECONDS = 20
_BIT_RATE = "6M"
_ENCODER = {"preset": "veryfast", "maxrate": _BIT_RATE, "bufsize": _BIT_RATE, "b": _BIT_RATE, "g": str(FPS)}


def full_hd_video(*, b_frames: int = 0) -> Path:
    """The H.264 file in the cache, rendered first when it is missing: a key frame each second, as cameras send.

    Between other frames are always `b_frames`, of which no other frame needs the two at the edges of three.
    """
    name = f"full-hd-{b_frames}-b.mp4"
    folder = cached_folder(
        f"benchmarks-edge-video-{b_frames}-b",
        digest_of(Path(__file__).read_bytes()),
        lambda temporary: _encode(temporary / name, b_frames),
        report=print,
        note=f"rendering {_SECONDS} s of Full HD video with {b_frames} B-frames (once)",
    )
    return folder / name


def _encode(path: Path, b_frames: int) -> None:
    source = _moving_picture()
    with av.open(str(path), "w", format="mp4") as container:
        options = {**_ENCODER, "x264-params": f"bframes={b_frames}:b-adapt=0:scenecut=0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(_SECONDS * FPS):
            picture = source.pull()
            # The graph marks each picture as one that stands alone, and the encoder would obey.
            picture.pict_type = av.video.frame.PictureType.NONE  # type: ignore[union-attr]  # pictures only in this graph
            container.mux(stream.encode(picture))  # type: ignore[arg-type]  # as above
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
