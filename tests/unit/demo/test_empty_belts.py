"""The demo's pictures that show nothing."""

from pathlib import Path

import numpy as np

from demo.dataset import load_photos
from demo.empty_belts import draw_empty_belts, write_empty_belts
from demo.feed import HEIGHT, WIDTH, draw_frames
from demo.schedule import View, make_schedule


def test_each_belt_is_another_one_and_none_is_that_of_a_camera() -> None:
    belts = list(draw_empty_belts(4))
    assert {belt.shape for belt in belts} == {(HEIGHT, WIDTH, 3)}
    schedule = make_schedule(load_photos(), camera=1, seconds=5)
    assert schedule.view(0) is View.EMPTY
    every = [*belts, next(draw_frames(schedule))]
    differences = [
        np.abs(one.astype(int) - other).mean() for number, one in enumerate(every) for other in every[number + 1 :]
    ]
    assert min(differences) > 3  # more than the noise of one belt's frames  # noqa: PLR2004


def test_they_are_written_as_pictures(tmp_path: Path) -> None:
    write_empty_belts(tmp_path / "nothing", 3)
    assert [path.name for path in sorted((tmp_path / "nothing").iterdir())] == [f"belt-{n:03}.jpg" for n in range(3)]
