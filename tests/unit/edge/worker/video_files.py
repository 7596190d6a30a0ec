"""Small video files for tests: a picture whose four quarters differ, in many codecs, containers and shapes."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from edge.worker.source import RawFrame
from edge.worker.video import open_file
from framematch.core.arrays import Pixels

RED, GREEN, BLUE, GREY = (0, 0, 255), (0, 255, 0), (255, 0, 0), (128, 128, 128)  # BGR
QUARTERS = (RED, GREEN, BLUE, GREY)  # top left, top right, bottom left, bottom right
FPS = 25


def quarters(width: int = 64, height: int = 48) -> Pixels:
    """The picture of which all these videos consist."""
    picture = np.empty((height, width, 3), np.uint8)
    half_x, half_y = width // 2, height // 2
    picture[:half_y, :half_x], picture[:half_y, half_x:] = QUARTERS[:2]
    picture[half_y:, :half_x], picture[half_y:, half_x:] = QUARTERS[2:]
    return picture


def write_video(
    path: Path,
    *,
    codec: str = "libx264",
    container: str | None = None,
    pixels: str = "yuv420p",
    pictures: Iterable[Pixels] | None = None,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    prepare: Callable[[av.VideoStream], None] = lambda _stream: None,
    tag: Callable[[av.VideoFrame], None] = lambda _frame: None,
) -> Path:
    """Write `pictures` (30 of the quarters) as frames, at `times` in 1/25 s; `prepare` the stream and `tag` frames."""
    shown = list(pictures) if pictures is not None else [quarters()] * 30
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = {"x264-params": "bframes=0:scenecut=0"} if codec == "libx264" else {}
        stream.options = stream.options | (options or {})
        prepare(stream)
        for number, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=pixels)
            frame.pts, frame.time_base = number if times is None else times[number], Fraction(1, FPS)
            tag(frame)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def first_picture(path: Path) -> RawFrame:
    """The first frame of a video file."""
    reader = open_file(path)
    try:
        grabbed = reader.grab()
        assert grabbed is not None
        assert not grabbed.damaged
        raw = reader.retrieve()
        assert raw is not None
        return raw
    finally:
        reader.close()


def nearest(pixel: np.ndarray) -> tuple[int, int, int]:
    """The one of the four colours that `pixel`, [3] BGR, is meant to have."""
    return min(QUARTERS, key=lambda colour: int(np.abs(pixel - np.array(colour)).sum()))


def corners(picture: Pixels) -> list[tuple[int, int, int]]:
    """The nearest of the four colours in each quarter of `picture`: top left, top right, bottom left, bottom right."""
    height, width = picture.shape[:2]
    places = [(y * height // 4, x * width // 4) for y in (1, 3) for x in (1, 3)]
    return [nearest(picture[place].astype(int)) for place in places]
