"""Renders the feed of a camera from its schedule to an H.264 file in the cache."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np

from demo import timecode
from demo.dataset import DATA_DIR
from demo.schedule import FeedSchedule, Segment
from demo.timecode import Picture
from framematch.core.paths import cache_dir

WIDTH, HEIGHT = 640, 360
VERSION = 2  # increase it with every change of the drawing or the encoding

_PHOTO_SIDE_PX = 344  # within the centre square of 360
_NOISE = 4.0  # standard deviation in grey levels, as from a camera in indoor light
_NOISE_FRAMES = 8
# A usual bit rate for this size; no B-frames, so that decoding and presentation order are the same.
_ENCODER = {"preset": "veryfast", "crf": "25", "maxrate": "1200k", "bufsize": "1200k", "bf": "0", "threads": "1"}


@dataclass(frozen=True)
class _Motion:
    """The position and motion of a photo while it is in view; pairs are (at the start, at the end)."""

    direction: int  # +1 from left to right, -1 from right to left
    zoom: tuple[float, float]
    angle_deg: tuple[float, float]
    brightness: tuple[float, float]


def render_feed(
    schedule: FeedSchedule,
    *,
    data_dir: Path = DATA_DIR,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Path:
    """Return the feed's MP4 file from the cache, rendering it if necessary; `progress(done, all)` counts frames.

    The file is 640 x 360, H.264, yuv420p, with a keyframe each second and a timecode in every frame. Its name has a
    digest of everything that it depends on.
    """
    path = cache_dir() / "demo" / f"camera-{schedule.camera}-{_digest(schedule, data_dir)}.mp4"
    if path.is_file():
        progress(schedule.frames, schedule.frames)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        _encode(schedule, data_dir, temporary, progress)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _encode(schedule: FeedSchedule, data_dir: Path, path: Path, progress: Callable[[int, int], None]) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=schedule.fps, options=_ENCODER)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = schedule.fps
        for index, picture in enumerate(draw_frames(schedule, data_dir)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            progress(index + 1, schedule.frames)
        container.mux(stream.encode(None))


def draw_frames(schedule: FeedSchedule, data_dir: Path = DATA_DIR) -> Iterator[Picture]:
    """Yield each frame as [360, 640, 3] BGR; the same schedule gives the same pixels."""
    rng = np.random.default_rng([schedule.camera, schedule.frames, schedule.fps])
    belt = _belt(np.random.default_rng(schedule.camera))
    noise = rng.normal(0, _NOISE, (_NOISE_FRAMES, HEIGHT, WIDTH, 3)).astype(np.int8)
    drawn: tuple[Segment, Picture, _Motion] | None = None
    for index in range(schedule.frames):
        picture = belt.copy()
        if segment := schedule.segment(index):
            if drawn is None or drawn[0] is not segment:
                drawn = segment, _read_photo(data_dir / segment.photo.file), _motion(rng)
            _draw_photo(picture, drawn[1], drawn[2], segment, index)
        cv2.add(picture, noise[index % _NOISE_FRAMES], dst=picture, dtype=cv2.CV_8U)
        timecode.write(picture, schedule.camera, index)
        yield picture


def _draw_photo(picture: Picture, photo: Picture, motion: _Motion, segment: Segment, index: int) -> None:
    done = (index - segment.start) / max(1, segment.stop - 1 - segment.start)
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), _between(motion.angle_deg, done), _between(motion.zoom, done) * _PHOTO_SIDE_PX / height
    )
    matrix[0, 2] += (WIDTH - width) / 2 + motion.direction * _offset_px(segment, index)
    matrix[1, 2] += (HEIGHT - height) / 2
    lit = cv2.convertScaleAbs(photo, alpha=_between(motion.brightness, done))
    cv2.warpAffine(lit, matrix, (WIDTH, HEIGHT), dst=picture, borderMode=cv2.BORDER_TRANSPARENT)


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


def _offset_px(segment: Segment, index: int) -> float:
    """The photo's offset from the centre: < 0 while it enters, > 0 while it leaves, with smooth acceleration."""
    entering = max(0, segment.start + segment.slide - index) / (segment.slide + 1)
    leaving = max(0, index - (segment.stop - 1 - segment.slide)) / (segment.slide + 1)
    return (leaving**2 - entering**2) * (WIDTH + _PHOTO_SIDE_PX) / 2


def _motion(rng: np.random.Generator) -> _Motion:
    def pair(low: float, high: float) -> tuple[float, float]:
        return float(rng.uniform(low, high)), float(rng.uniform(low, high))

    return _Motion(
        direction=int(rng.choice((-1, 1))),
        zoom=pair(0.98, 1.12),
        angle_deg=pair(-5, 5),
        brightness=pair(0.88, 1.1),
    )


def _belt(rng: np.random.Generator) -> Picture:
    """An empty rubber belt between two steel rails: grey, mottled, brighter in the centre."""
    mottle = cv2.resize(rng.normal(0, 1, (HEIGHT // 12, WIDTH // 12)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    ribs = np.sin(np.arange(WIDTH) * (2 * np.pi / 40))
    light = np.exp(-((np.arange(HEIGHT)[:, None] - HEIGHT / 2) ** 2) / (2 * 200.0**2))
    grey = 62 * light + 3 * mottle + 2 * ribs
    grey[:10] = grey[-10:] = 128
    tint = rng.uniform(0.92, 1.08, 3)
    return np.asarray(np.clip(grey[..., None] * tint, 0, 255), np.uint8)


def _read_photo(path: Path) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(f"no picture at {path}")
    return np.asarray(picture, np.uint8)


def _digest(schedule: FeedSchedule, data_dir: Path) -> str:
    digest = hashlib.sha256(msgspec.json.encode([VERSION, _ENCODER, schedule]))
    for segment in schedule.segments:
        digest.update((data_dir / segment.photo.file).read_bytes())
    return digest.hexdigest()[:16]
