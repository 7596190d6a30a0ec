"""What the edge's benchmark plays and sends: videos that are rendered once and kept in the cache, and JPEGs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from demo.dataset import DATA_DIR, load_photos
from demo.feed import draw_frames
from demo.schedule import make_schedule
from edge.worker.encode import encode_jpeg, scale_down
from framematch.core.settings import EdgeSettings
from stack.cache import Report, cached_folder, digest_of

Picture = NDArray[np.uint8]

JPEGS = 240
_JPEG_QUALITY = 92  # the demo's pictures of 640 x 360 are 51 KB then
_JPEG_FPS = 5
_NOISE = 3.0  # standard deviation in grey levels: indoor light
_NOISE_FRAMES = 8


@dataclass(frozen=True)
class Video:
    """A camera's picture and rate; a key frame each second, no B-frames, as cameras send."""

    width: int
    height: int
    fps: int
    seconds: int
    kbit_per_s: int

    @property
    def name(self) -> str:
        """As people say it: 1080p30."""
        return f"{self.height}p{self.fps}"


FULL_HD = Video(1920, 1080, fps=30, seconds=20, kbit_per_s=6_000)
SMALL = Video(640, 360, fps=30, seconds=20, kbit_per_s=1_200)


def cached_video(video: Video, report: Report = print) -> Path:
    """The H.264 file in the cache, rendered when it is not there yet."""
    folder = cached_folder(
        "benchmarks-edge-video",
        digest_of(Path(__file__).read_bytes(), repr(video)),
        lambda temporary: _encode(video, temporary / "camera.mp4"),
        report=report,
        note=f"rendering {video.seconds} s of {video.name} (once)",
    )
    return folder / "camera.mp4"


def write_jpegs(folder: Path) -> int:
    """Write different pictures of 640 x 360 as JPEGs of about 50 KB; their mean size in bytes."""
    folder.mkdir(parents=True)
    schedule = make_schedule(load_photos(), camera=1, seconds=JPEGS / _JPEG_FPS, fps=_JPEG_FPS)
    sizes = []
    for number, picture in enumerate(draw_frames(schedule)):
        jpeg = encode_jpeg(scale_down(picture, EdgeSettings().max_side), quality=_JPEG_QUALITY)
        (folder / f"{number:04}.jpg").write_bytes(jpeg)
        sizes.append(len(jpeg))
    return round(sum(sizes) / len(sizes))


def draw_video(video: Video) -> Iterator[Picture]:
    """A wall of product photos that the camera sweeps over, with noise; it ends where it began. `[H, W, 3]` BGR."""
    rng = np.random.default_rng(0)
    wall = _wall(video)
    noise = rng.normal(0, _NOISE, (_NOISE_FRAMES, video.height, video.width, 3)).astype(np.int8)
    frames = video.fps * video.seconds
    room = np.array(wall.shape[:2]) - (video.height, video.width)
    for number in range(frames):
        turn = 2 * np.pi * number / frames
        top, left = np.rint(room * (0.5 + 0.5 * np.sin([2 * turn, 3 * turn]))).astype(int)
        picture = wall[top : top + video.height, left : left + video.width].copy()
        cv2.add(picture, noise[number % _NOISE_FRAMES], dst=picture, dtype=cv2.CV_8U)
        yield picture


def _wall(video: Video) -> Picture:
    """Photos side by side, one and a half times as wide and as high as the picture."""
    side = video.height // 3
    rows, columns = (-(-3 * length // (2 * side)) for length in (video.height, video.width))
    photos = [_photo(DATA_DIR / photo.file, side) for photo in islice(load_photos(), rows * columns)]
    lines = [
        np.hstack([photos[(row * columns + column) % len(photos)] for column in range(columns)]) for row in range(rows)
    ]
    return np.vstack(lines)


def _photo(path: Path, side: int) -> Picture:
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise FileNotFoundError(path)
    return np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _encode(video: Video, path: Path) -> None:
    rate = f"{video.kbit_per_s}k"
    options = {"preset": "veryfast", "maxrate": rate, "bufsize": rate, "b": rate, "bf": "0"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=video.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.codec_context.gop_size = video.fps
        for picture in draw_video(video):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
