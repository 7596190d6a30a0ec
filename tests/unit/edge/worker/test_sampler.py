"""The sampler: an exact rate, no drift, no burst."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.worker.sampler import Sampler


def accepted(times_s: list[float], fps: float) -> list[int]:
    sampler = Sampler(fps)
    return [index for index, at_s in enumerate(times_s) if sampler.accept(at_s)]


@pytest.mark.parametrize(("source_fps", "fps", "expected"), [(30, 5, 50), (25, 5, 50), (29.97, 10, 100), (30, 7, 70)])
def test_ten_seconds_give_ten_times_the_rate(source_fps: float, fps: float, expected: int) -> None:
    assert len(accepted([index / source_fps for index in range(round(10 * source_fps))], fps)) == expected


def test_the_first_frame_is_accepted_whatever_its_time() -> None:
    assert accepted([1234.5], 5) == [0]


def test_of_30_frames_a_second_every_sixth_is_accepted_for_5() -> None:
    assert accepted([100 + index / 30 for index in range(25)], 5) == [0, 6, 12, 18, 24]


def test_a_source_of_exactly_the_same_rate_loses_nothing_to_rounding() -> None:
    assert len(accepted([round(index / 30, 5) for index in range(3000)], 30)) == 3000


def test_all_frames_of_a_slower_source_are_accepted() -> None:
    assert accepted([0.0, 1.0, 2.0, 3.0], 5) == [0, 1, 2, 3]


def test_it_does_not_drift_over_a_day() -> None:
    sampler = Sampler(5)
    day_s = 24 * 3600
    sampler.accept(0.0)
    assert sampler.accept(day_s)
    assert not sampler.accept(day_s + 0.19)
    assert sampler.accept(day_s + 0.2)


def test_frames_that_pile_up_in_a_stall_are_not_accepted_in_a_burst() -> None:
    assert accepted([0.0, 0.2, 5.01, 5.02, 5.03, 5.04, 5.05, 5.2], 5) == [0, 1, 2, 7]


@given(
    gaps_s=st.lists(st.floats(0, 2), max_size=200),
    fps=st.floats(0.1, 60),
)
def test_it_never_accepts_more_than_the_rate_allows(gaps_s: list[float], fps: float) -> None:
    at_s, times_s = 0.0, []
    for gap_s in gaps_s:
        at_s += gap_s
        times_s.append(at_s)
    assert len(accepted(times_s, fps)) <= at_s * fps + 1.02
