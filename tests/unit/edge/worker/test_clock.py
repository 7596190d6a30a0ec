"""Capture times: the stream's times without jitter, the camera's clock if it is right, and never going back."""

import random
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.worker.clock import CaptureClock, FrameTimestamps, LagWatch

NOON_S = 1_800_000_000.0
HOUR_S = 3600.0
MINUTE_US = 60_000_000


class Clocks:
    """A wall clock that can be set, and a monotonic one; both advance only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.wall_offset_s = NOON_S

    def wall_us(self) -> int:
        return round((self.now_s + self.wall_offset_s) * 1e6)

    def monotonic_s(self) -> float:
        return self.now_s

    def at(self, now_s: float) -> "Clocks":
        self.now_s = now_s
        return self


def clock_of(clocks: Clocks, last_captured_us: int = 0) -> CaptureClock:
    return CaptureClock(last_captured_us, wall_us=clocks.wall_us, monotonic_s=clocks.monotonic_s)


def frames_at(
    arrivals_s: list[float], media_s: list[float] | None, camera_off_s: float | None = None
) -> tuple[Clocks, list[FrameTimestamps]]:
    """Frames that arrive at `arrivals_s`; the camera's own clock is `camera_off_s` ahead of ours."""
    clocks = Clocks()
    clock = clock_of(clocks)
    found = []
    for index, arrival_s in enumerate(arrivals_s):
        clocks.at(arrival_s)
        media = None if media_s is None else media_s[index]
        camera = None if media is None or camera_off_s is None else media + 100.0 + NOON_S + camera_off_s
        found.append(clock.timestamps(media, camera))
    return clocks, found


def captured_s(frame: FrameTimestamps) -> float:
    """In the time of the monotonic clock of these tests."""
    return frame.captured_at_us / 1e6 - NOON_S


def test_without_stream_times_the_capture_time_is_the_arrival() -> None:
    _, found = frames_at([100.0, 100.3], None)
    assert [captured_s(frame) for frame in found] == pytest.approx([100.0, 100.3])
    assert {frame.clock for frame in found} == {"wall"}


def test_jitter_of_the_network_is_removed() -> None:
    noise = random.Random(1)  # noqa: S311  # repeatable noise
    media = [index / 25 for index in range(500)]
    late = [0.0 if index % 10 == 0 else noise.uniform(0, 0.15) for index in range(500)]
    arrivals = accumulate((100 + at_s + late_s for at_s, late_s in zip(media, late, strict=True)), max)
    _, found = frames_at(list(arrivals), media)
    gaps = [after.captured_at_us - before.captured_at_us for before, after in pairwise(found)]
    assert max(abs(gap - 40_000) for gap in gaps) < 500
    assert {frame.clock for frame in found} == {"rtp"}


def test_lag_is_how_late_a_frame_arrives() -> None:
    _, found = frames_at([100.0, 100.1, 102.0, 102.05], [0.0, 0.1, 0.2, 2.05])
    assert [frame.lag_s for frame in found] == pytest.approx([0, 0, 1.8, 0], abs=0.001)


@pytest.mark.parametrize("drift", [50e-6, -50e-6])
def test_a_day_of_drift_does_not_add_up(drift: float) -> None:
    media = [float(second) for second in range(0, 86_400, 10)]
    _, found = frames_at([100 + at_s * (1 + drift) for at_s in media], media)
    assert max(frame.lag_s for frame in found) < 0.01
    assert all(abs(frame.captured_at_us - frame.grabbed_at_us) < 10_000 for frame in found)


@pytest.mark.parametrize("off_s", [-0.3, -8.0, 8.0])
def test_the_cameras_own_clock_is_used_if_it_is_about_right(off_s: float) -> None:
    media = [index / 5 for index in range(1_000)]
    _, found = frames_at([100 + at_s for at_s in media], media, off_s)
    assert {frame.clock for frame in found} == {"rtcp"}
    assert captured_s(found[-1]) == pytest.approx(100 + media[-1] + off_s, abs=0.001)


@pytest.mark.parametrize("off_s", [HOUR_S, -HOUR_S, -NOON_S])
def test_a_camera_clock_that_is_an_hour_off_or_in_1970_is_not_used(off_s: float) -> None:
    _, found = frames_at([100.0, 100.2], [0.0, 0.2], off_s)
    assert [captured_s(frame) for frame in found] == pytest.approx([100.0, 100.2])
    assert {frame.clock for frame in found} == {"rtp"}


def test_a_camera_that_reports_its_clock_late_changes_capture_times_smoothly() -> None:
    clocks = Clocks()
    clock = clock_of(clocks)
    found = []
    for index in range(50):
        at_s = index / 5
        clocks.at(100 + at_s)
        found.append(clock.timestamps(at_s, 100 + NOON_S + at_s - 1.0 if index >= 10 else None))
    gaps_s = [captured_s(after) - captured_s(before) for before, after in pairwise(found)]
    assert min(gaps_s) == pytest.approx(0.1, abs=0.001)
    assert captured_s(found[-1]) == pytest.approx(100 + 9.8 - 1.0, abs=0.001)


def test_stream_times_that_start_again_get_a_new_anchor() -> None:
    _, found = frames_at([100.0, 100.2, 100.4, 100.6], [50.0, 50.2, 0.0, 0.2])
    assert [captured_s(frame) for frame in found] == pytest.approx([100.0, 100.2, 100.4, 100.6], abs=0.001)
    assert all(frame.lag_s < 0.001 for frame in found)


def test_stream_times_that_jump_ahead_do_not_move_capture_times() -> None:
    _, found = frames_at([100.0, 100.2, 100.4], [0.0, 0.2, 5_000.0])
    assert captured_s(found[-1]) == pytest.approx(100.4)


def test_a_wall_clock_set_forward_is_followed_at_once() -> None:
    clocks = Clocks()
    clock = clock_of(clocks)
    clock.timestamps(0.0)
    clocks.at(100.2).wall_offset_s += HOUR_S
    assert captured_s(clock.timestamps(0.2)) == pytest.approx(100.2 + HOUR_S)


def test_after_a_wall_clock_is_set_back_capture_times_advance_at_half_speed() -> None:
    clocks = Clocks()
    clock = clock_of(clocks)
    before = clock.timestamps(0.0)
    clocks.wall_offset_s -= 10.0
    clocks.at(101.0)
    after = clock.timestamps(1.0)
    assert after.captured_at_us - before.captured_at_us == 500_000
    last = after
    for second in range(2, 30):
        clocks.at(100.0 + second)
        last = clock.timestamps(float(second))
    assert last.captured_at_us == pytest.approx(last.grabbed_at_us, abs=1_000)


def test_a_wall_clock_set_back_by_hours_sets_capture_times_back() -> None:
    clocks = Clocks()
    clock = clock_of(clocks)
    clock.timestamps(0.0)
    clocks.at(101.0).wall_offset_s -= 2 * HOUR_S
    assert captured_s(clock.timestamps(1.0)) == pytest.approx(101.0 - 2 * HOUR_S)


@pytest.mark.parametrize("last_off_s", [0.0, 8.0])
def test_the_times_of_a_run_follow_those_of_the_run_before(last_off_s: float) -> None:
    """In the run before, the camera reported a clock that was ahead; in this run it does not."""
    clocks = Clocks()
    last_us = clocks.wall_us() + round(last_off_s * 1e6)
    clock = clock_of(clocks, last_us)
    assert [clock.timestamps(0.0).captured_at_us for _ in range(3)] == [last_us + 1, last_us + 2, last_us + 3]
    clocks.at(100 + 2 * last_off_s + 1)
    assert captured_s(clock.timestamps(2 * last_off_s + 1)) == pytest.approx(clocks.now_s, abs=0.001)


def test_a_run_does_not_follow_a_time_that_cannot_be_right() -> None:
    clocks = Clocks()
    assert captured_s(clock_of(clocks, clocks.wall_us() + 2 * MINUTE_US).timestamps(0.0)) == pytest.approx(100.0)


# Seconds until the next frame; advance of the stream's time; change of the wall clock; offset of the camera's clock;
# whether the frame is the first of a new run.
Step = tuple[float, float | None, float, float | None, bool]
steps_of_clocks = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.one_of(st.none(), st.floats(-5, 5)),
        st.one_of(st.just(0.0), st.floats(-70, 70), st.floats(-1e9, 1e9)),
        st.one_of(st.none(), st.floats(-90, 90)),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps_of_clocks)
@example([(1.0, 1.0, 0.0, 59.9, False), (0.1, 0.1, -1.0, None, True), (0.1, 0.1, -7200.0, None, False)])
def test_capture_times_never_go_back_nor_further_ahead_than_a_minute_whatever_the_clocks_do(steps: list[Step]) -> None:
    clocks = Clocks()
    clock = clock_of(clocks)
    media_s = 0.0
    found: list[FrameTimestamps] = []
    for passed_s, media_step_s, wall_step_s, camera_off_s, again in steps:
        clocks.at(clocks.now_s + passed_s).wall_offset_s += wall_step_s
        if again and found:
            clock = clock_of(clocks, found[-1].captured_at_us)
        media_s += media_step_s or 0.0
        camera = None if camera_off_s is None else clocks.wall_us() / 1e6 + camera_off_s
        frame = clock.timestamps(None if media_step_s is None else media_s, camera)
        assert frame.lag_s >= 0
        assert frame.captured_at_us <= frame.grabbed_at_us + MINUTE_US
        if found and frame.captured_at_us <= found[-1].captured_at_us:
            passed_us = 0.0 if again else (frame.due_s - found[-1].due_s) * 1e6
            at_half_speed_us = found[-1].captured_at_us + max(1, round(passed_us / 2))
            assert at_half_speed_us > frame.grabbed_at_us + MINUTE_US
        found.append(frame)


def behind(lags: list[tuple[float, float]]) -> list[bool]:
    watch = LagWatch(5.0)
    return [watch.is_behind(FrameTimestamps(0, 0, at_s, "rtp", lag_s)) for at_s, lag_s in lags]


def test_a_burst_after_a_pause_is_not_behind() -> None:
    assert not any(behind([(100.0, 0.0), (107.0, 7.0), (107.01, 6.0), (107.02, 4.0), (107.03, 0.0)]))


def test_a_stream_that_stays_late_is_behind_after_three_seconds() -> None:
    assert behind([(float(second), 6.0) for second in range(5)]) == [False, False, False, True, True]
