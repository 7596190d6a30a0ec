"""The pictures that calibrate the demo are frames of its cameras."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.calibration import EMPTY_FRAMES, draw_calibration
from demo.dataset import load_calibration_photos
from demo.feed import HEIGHT, WIDTH, draw_frames
from demo.schedule import FeedSchedule


@pytest.fixture(scope="module", name="drawn")
def _drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return draw_calibration((1, 2), tmp_path_factory.mktemp("calibration") / "pictures")


def test_each_photo_is_in_one_frame_in_the_folder_of_its_product(drawn: tuple[Path, Path]) -> None:
    frames, _ = drawn
    found = sorted((path.parent.name, path.stem) for path in frames.glob("*/*.jpg"))
    assert found == sorted((photo.product, Path(photo.file).stem) for photo in load_calibration_photos())
    picture = cv2.imread(str(next(frames.glob("*/*.jpg"))))
    assert picture is not None
    assert picture.shape == (HEIGHT, WIDTH, 3)


def test_each_camera_has_empty_frames_of_the_belt_that_its_feed_shows(drawn: tuple[Path, Path]) -> None:
    _, nothing = drawn
    assert len(list(nothing.iterdir())) == 2 * EMPTY_FRAMES
    for camera in (1, 2):
        belt = next(draw_frames(FeedSchedule(camera, fps=15, seconds=1, segments=())))
        found = cv2.imread(str(nothing / f"camera-{camera}-0.jpg"))
        assert found is not None
        difference = np.abs(found.astype(int) - belt)
        assert difference[20:, 100:].mean() < 4  # without the timecode
