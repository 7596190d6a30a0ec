"""Draws what calibrates the demo: frames of its cameras, with photos that no feed shows, and without any."""

from collections.abc import Sequence
from pathlib import Path

import cv2

from demo.dataset import DATA_DIR, load_calibration_photos
from demo.feed import draw_frames
from demo.schedule import FeedSchedule, Photo, Segment

EMPTY_FRAMES = 60
"""Of each camera."""
_JPEG_QUALITY = 85


def draw_calibration(cameras: Sequence[int], folder: Path, data_dir: Path = DATA_DIR) -> tuple[Path, Path]:
    """Write `folder`/frames/PRODUCT/NAME.jpg and `folder`/nothing/NAME.jpg, and return both folders.

    Each photo is in one frame of one camera. The belts are those of the cameras; light, noise and motion differ.
    """
    frames, nothing = folder / "frames", folder / "nothing"
    nothing.mkdir(parents=True)
    photos = load_calibration_photos(data_dir)
    for position, camera in enumerate(cameras):
        schedule = _schedule(camera, photos[position :: len(cameras)])
        for number, picture in enumerate(draw_frames(schedule, data_dir)):
            path = nothing / f"camera-{camera}-{number}.jpg"
            if segment := schedule.segment(number):
                path = frames / segment.photo.product / f"{Path(segment.photo.file).stem}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return frames, nothing


def _schedule(camera: int, photos: Sequence[Photo]) -> FeedSchedule:
    """Empty frames, then one frame of each photo, fully in view."""
    segments = tuple(Segment(start, start + 1, 0, photo) for start, photo in enumerate(photos, EMPTY_FRAMES))
    frames = EMPTY_FRAMES + len(photos)
    return FeedSchedule(camera, fps=frames, seconds=1.0, segments=segments)
