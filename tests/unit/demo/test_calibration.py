"""The pictures that calibrate the demo are frames of its cameras."""

from pathlib import Path

import cv2
import numpy as np

from demo.calibration import draw_calibration
from demo.dataset import load_calibration_photos
from demo.feed import HEIGHT, WIDTH, draw_frames
from demo.schedule import FeedSchedule


def test_each_photo_is_in_one_frame_in_the_folder_of_its_product_on_the_belt_of_a_camera(tmp_path: Path) -> None:
    draw_calibration((1, 2), tmp_path)
    found = sorted(tmp_path.glob("*/*.jpg"))
    names = sorted((photo.product, Path(photo.file).stem) for photo in load_calibration_photos())
    assert sorted((path.parent.name, path.stem) for path in found) == names
    picture = cv2.imread(str(found[0]))
    assert picture is not None
    assert picture.shape == (HEIGHT, WIDTH, 3)
    belts = [next(draw_frames(FeedSchedule(camera, fps=15, seconds=1, segments=()))) for camera in (1, 2)]
    edges = [np.abs(picture.astype(int) - belt)[20:, -80:].mean() for belt in belts]
    assert min(edges) < 4 < max(edges)
