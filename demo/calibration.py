"""Draws what calibrates the demo: frames of its cameras, with photos that no feed shows.

Its empty belts need no calibration: they show nothing, so consumers compare them with no product.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2

from demo.dataset import DATA_DIR, load_calibration_photos
from demo.feed import draw_frames
from demo.schedule import FeedSchedule, Photo, Segment

_JPEG_QUALITY = 85


def draw_calibration(cameras: Sequence[int], folder: Path, data_dir: Path = DATA_DIR) -> None:
    """Write `folder`/PRODUCT/NAME.jpg for each photo: a frame of one camera, with light and noise as in feeds."""
    photos = load_calibration_photos(data_dir)
    for position, camera in enumerate(cameras):
        shown = photos[position :: len(cameras)]
        for photo, picture in zip(shown, draw_frames(_schedule(camera, shown), data_dir), strict=True):
            path = folder / photo.product / f"{Path(photo.file).stem}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def _schedule(camera: int, photos: Sequence[Photo]) -> FeedSchedule:
    """One frame of each photo, fully in view."""
    segments = tuple(Segment(start, start + 1, 0, photo) for start, photo in enumerate(photos))
    return FeedSchedule(camera, fps=len(photos), seconds=1.0, segments=segments)
