"""Files are played at their own pace, and no jump in their times stalls them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.worker.file_times import GAP_MAX_S, FileTimes
from edge.worker.video import open_file
from tests.unit.edge.worker.video_files import quarters, write_video

INTERVAL_S = 0.04
TIMES = st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([0.0, 0.04, 0.08, 95_443.7]))


def played(*times_s: float | None) -> list[float]:
    """The times of frames whose decoding times are those at which they are shown."""
    times = FileTimes(INTERVAL_S)
    return [round(times.frame_s(at_s, times.shift_s(at_s)), 3) for at_s in times_s]


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ((0.0, 0.04, 0.08), [0.0, 0.04, 0.08]),
        ((0.0, 4.0, 8.0), [0.0, 4.0, 8.0]),  # a time lapse
        ((0.0, 0.04, 3600.04, 3600.08), [0.0, 0.04, 0.04 + GAP_MAX_S, 0.08 + GAP_MAX_S]),
        ((95_443.0, 95_443.04, 0.0, 0.04), [95_443.0, 95_443.04, 95_443.08, 95_443.12]),  # wraps at 33 bits
        ((1e9, 1e9 + 0.04), [1e9, 1e9 + 0.04]),
        ((0.0, 0.04, 0.04, 0.04, 0.16), [0.0, 0.04, 0.08, 0.12, 0.16]),
        ((None, None, None), [0.0, 0.04, 0.08]),
        ((0.0, None, 0.08), [0.0, 0.04, 0.08]),
        ((-10.0, -9.96), [-10.0, -9.96]),
    ],
)
def test_times_that_jump_repeat_or_are_missing_go_on(times_s: tuple[float | None, ...], expected: list[float]) -> None:
    assert played(*times_s) == pytest.approx(expected)


@given(st.lists(st.tuples(TIMES, TIMES), max_size=30))
def test_whatever_a_file_says_times_grow_and_never_by_more_than_the_bound(
    packets: list[tuple[float | None, float | None]],
) -> None:
    times = FileTimes(INTERVAL_S)
    found = [times.frame_s(frame_s, times.shift_s(packet_s)) for packet_s, frame_s in packets]
    # Times of 1e9 s have no room for less than a microsecond.
    assert all(0 < after - before <= GAP_MAX_S + 1 + 1e-6 for before, after in pairwise(found))


def test_where_only_key_frames_are_decoded_what_lies_between_them_is_no_gap() -> None:
    times = FileTimes(INTERVAL_S)
    found = []
    for half_second in range(121):
        shift_s = times.shift_s(half_second / 2)
        if half_second % 60 == 0:
            found.append(times.frame_s(half_second / 2, shift_s))
    assert found == [0.0, 30.0, 60.0]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
@pytest.mark.parametrize("options", [{}, {"x264-params": "bframes=2:b-adapt=0:scenecut=0"}])
def test_a_gap_in_a_file_is_shortened_and_all_else_keeps_its_pace(
    tmp_path: Path, container: str, options: dict[str, str]
) -> None:
    ticks = [*range(20), *range(25 * 600, 25 * 600 + 20)]
    if container == "avi":  # has no times of its own: empty frames fill the gap
        ticks = [*range(20), *range(25 * 10, 25 * 10 + 20)]
    path = write_video(
        tmp_path / "video", container=container, pictures=[quarters()] * 40, times=ticks, options=options
    )
    reader = open_file(path)
    found = []
    while (grabbed := reader.grab()) is not None:
        if not grabbed.damaged:
            assert grabbed.media_s is not None
            found.append(grabbed.media_s)
    reader.close()
    steps = np.diff(found)
    assert len(steps) == 39
    assert np.allclose(np.concatenate([steps[1:15], steps[28:]]), 0.04, atol=0.01)
    assert steps.min() > 0
    assert steps[15:28].sum() <= GAP_MAX_S + 1  # with B-frames, some cross the gap before others


def test_two_recordings_in_one_file_are_played_one_after_the_other(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{at}.ts", container="mpegts", times=range(at, at + 25), pictures=[quarters()] * 25)
        for at in (50_000, 0)
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = open_file(tmp_path / "both.ts")
    found = []
    while (grabbed := reader.grab()) is not None:
        if not grabbed.damaged:
            assert grabbed.media_s is not None
            found.append(grabbed.media_s)
    reader.close()
    assert len(found) >= 49  # the last picture may break off where the files meet
    assert max(np.diff(found)) <= GAP_MAX_S + 0.2
