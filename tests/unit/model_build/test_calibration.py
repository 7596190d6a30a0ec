"""Reading calibration pictures: which are chosen, which are for evaluation, and which are skipped."""

from pathlib import Path

import numpy as np
import pytest
import structlog
from PIL import Image

from framematch.core.errors import ModelError
from framematch.model_build.int8.calibration import CalibrationSet, read_calibration
from framematch.vision.preprocess import Preprocessor
from tests.unit.model_build.convnets import SIDE, SPEC

PREPROCESSOR = Preprocessor(SPEC)


def write(path: Path, grey: int) -> Path:
    """A picture of one grey value, by which it is recognised after preprocessing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE * 2, SIDE), (grey, grey, grey)).save(path)
    return path


def greys(pictures: np.ndarray) -> list[int]:
    return [int(picture[0, 0, 0]) for picture in pictures]


def read(folder: Path, limit: int = 256) -> CalibrationSet:
    return read_calibration(folder, PREPROCESSOR, limit=limit)


def test_half_of_the_pictures_are_for_calibration_and_half_for_evaluation(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / f"{number}.png", number * 20)
    found = read(tmp_path)
    assert greys(found.evaluation) == [0, 40, 80, 120, 160]
    assert greys(found.calibration) == [20, 60, 100, 140, 180]
    assert found.calibration.shape == (5, SIDE, SIDE, 3)
    assert found.labels is None
    assert found.unreadable == 0


def test_pairs_of_a_label_stay_together_and_far_apart_in_name(tmp_path: Path) -> None:
    for label, first in (("kiwi", 0), ("milk", 100)):
        for number in range(5):
            write(tmp_path / label / f"{number}.png", first + number)
    found = read(tmp_path)
    assert list(found.labels or ()) == ["kiwi", "kiwi", "milk", "milk", "kiwi"]
    assert greys(found.evaluation) == [0, 2, 100, 102, 4]
    assert greys(found.calibration) == [1, 3, 101, 103, 104]


def test_folders_with_one_picture_each_give_no_labels(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / str(number) / "front.png", number)
    assert read(tmp_path).labels is None


def test_above_the_limit_pictures_are_chosen_evenly_and_reproducibly(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / f"{number:02}.png", number)
    found = read(tmp_path, limit=8)
    assert sorted(greys(found.evaluation) + greys(found.calibration)) == [0, 5, 10, 15, 20, 25, 30, 35]
    assert np.array_equal(read(tmp_path, limit=8).evaluation, found.evaluation)


def test_a_choice_of_pictures_keeps_pairs_of_labels(tmp_path: Path) -> None:
    for label in range(16):
        for number in range(2):
            write(tmp_path / f"{label:02}" / f"{number}.png", label)
    found = read(tmp_path, limit=8)
    assert list(found.labels or ()) == ["00", "00", "08", "08"]
    assert greys(found.calibration) == [4, 4, 12, 12]


def test_unreadable_pictures_are_skipped_counted_and_logged(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"{number}.jpg", number * 20)
    whole = (tmp_path / "3.jpg").read_bytes()
    (tmp_path / "3.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._1.jpg").write_bytes(b"another system's")
    with structlog.testing.capture_logs() as logs:
        found = read(tmp_path)
    assert found.unreadable == 1
    assert len(found.evaluation) + len(found.calibration) == 8
    assert [(line["event"], Path(line["file"]).name) for line in logs] == [("calibration_picture_skipped", "3.jpg")]


def test_too_few_readable_pictures_are_an_error_with_a_hint(tmp_path: Path) -> None:
    for number in range(7):
        write(tmp_path / f"{number}.webp", number)
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(ModelError, match="has 7 pictures that can be read and 1 that cannot") as caught:
        read(tmp_path)
    assert "at least 8" in caught.value.hint


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        read(tmp_path / "absent")


def test_transparency_becomes_white_as_in_the_catalogue(tmp_path: Path) -> None:
    for number in range(8):
        Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0)).save(tmp_path / f"{number}.png")
    assert read(tmp_path).evaluation.min() == 255


def test_progress_counts_files_up_to_all_of_them(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / f"{number}.png", number)
    seen: list[tuple[int, int]] = []
    read_calibration(tmp_path, PREPROCESSOR, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 8) for number in range(9)]
