"""How the pipeline's benchmark paces frames, and what it makes of memory, samples and statistics."""

import math
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from benchmarks.bare_triton import Executions
from benchmarks.harness import Figure
from benchmarks.pipeline.__main__ import PARTS, draw, measure
from benchmarks.pipeline.memory import lowest_of_parts, resident_mb, settled_part
from benchmarks.pipeline.paced import cameras_for, due_times
from benchmarks.pipeline.part import Measured
from benchmarks.pipeline.plan import QUICK, Plan
from benchmarks.pipeline.sampled import SampledSecond, Sampler, function_of
from benchmarks.pipeline.stages import at_work, by_thread, functions_between
from benchmarks.pipeline.trend import Trend, trend_of
from benchmarks.results import Results
from framematch.core.errors import FramematchError

SECONDS = [float(second) for second in range(600)]


@pytest.mark.parametrize(("frames_per_s", "cameras"), [(1.0, 1), (50.0, 10), (5_000.0, 12)])
def test_there_are_as_many_cameras_as_the_rate_takes_at_the_usual_pace(frames_per_s: float, cameras: int) -> None:
    assert cameras_for(frames_per_s, most=12) == cameras


def test_frames_are_due_in_order_at_the_rate_and_evenly_for_each_camera() -> None:
    due = due_times(4, 20.0, 10.0, random.Random(1))  # noqa: S311  # phases of cameras
    assert due == sorted(due)
    assert Counter(camera for _, camera in due) == dict.fromkeys(range(4), 50)
    assert due[-1][0] == pytest.approx(10.0, abs=0.3)
    distances = np.diff([at_s for at_s, camera in due if camera == 0])
    assert 0.15 < distances.min() <= distances.max() < 0.25


def test_a_line_has_its_slope_and_no_uncertainty() -> None:
    trend = trend_of(SECONDS, [100 + second / 3_600 for second in SECONDS])
    assert trend.per_hour == pytest.approx(1.0)
    assert trend.uncertainty == pytest.approx(0.0, abs=1e-6)


def test_memory_that_grows_is_not_flat_and_noise_is() -> None:
    noise = np.random.default_rng(1).normal(0, 1, len(SECONDS))
    assert trend_of(SECONDS, list(200 + noise)).flat
    assert not trend_of(SECONDS, list(200 + noise + np.array(SECONDS) / 60)).flat


def test_a_slope_of_less_than_a_hundredth_an_hour_is_flat_however_sure_it_is() -> None:
    assert Trend(mean=200, per_hour=1.9, uncertainty=0.1).flat
    assert not Trend(mean=200, per_hour=2.1, uncertainty=0.1).flat


def test_values_that_follow_each_other_make_a_slope_less_sure() -> None:
    steps = np.random.default_rng(2).normal(0, 1, len(SECONDS))
    walk = np.zeros(len(SECONDS))
    for number in range(1, len(walk)):
        walk[number] = 0.95 * walk[number - 1] + steps[number]
    shuffled = np.random.default_rng(3).permutation(walk)
    assert trend_of(SECONDS, list(walk)).uncertainty > 3 * trend_of(SECONDS, list(shuffled)).uncertainty


def test_one_step_in_a_short_run_is_no_slope() -> None:
    assert trend_of(SECONDS[:100], [200.0] * 50 + [220.0] * 50).flat


@given(st.lists(st.floats(0, 1e4), min_size=8, max_size=50))
def test_every_series_has_a_trend_of_finite_numbers(values: list[float]) -> None:
    trend = trend_of(range(len(values)), values)
    assert math.isfinite(trend.per_hour)
    assert trend.uncertainty >= 0


def test_too_few_points_make_no_trend() -> None:
    with pytest.raises(ValueError, match="7 points"):
        trend_of(range(7), [1.0] * 7)


def test_the_first_fifth_of_the_time_is_left_out() -> None:
    assert settled_part([(float(second), 1.0) for second in range(11)])[0][0] == 2.0


def test_memory_is_held_against_its_lowest_values() -> None:
    sawtooth = [(float(second), 200.0 + second % 10) for second in range(121)]
    floor = lowest_of_parts(sawtooth)
    assert [mb for _, mb in floor] == [200.0] * 12
    assert (floor[0][0], floor[-1][0]) == (5.0, 115.0)


def test_this_very_process_has_memory() -> None:
    assert resident_mb(os.getpid()) > 1


def test_an_inference_takes_the_mean_of_what_the_requests_took() -> None:
    did = Executions(48, 5, requests=6, compute_s=0.75).since(Executions(16, 3, requests=2, compute_s=0.25))
    assert did == Executions(32, 2, requests=4, compute_s=0.5)
    assert did.inference_ms == 125.0


def test_samples_of_the_seconds_between_are_added_up_by_kind_of_thread() -> None:
    samples = [
        SampledSecond(9, {"decode_0": {"a.f": 5.0}}),
        SampledSecond(10, {"decode_0": {"a.f": 1.0}, "MainThread": {"b.g": 4.0}}),
        SampledSecond(11, {"decode_1": {"a.f": 2.0}}),
        SampledSecond(12, {"MainThread": {"b.g": 9.0}}),
    ]
    found = functions_between(samples, 9.5, 12.0)
    assert found == {"event loop: b.g": 4.0, "decode: a.f": 3.0}
    assert next(iter(found)) == "event loop: b.g"
    assert by_thread(found, 10.0) == {"event loop": 4.0, "decode": 3.0, "not Python": 3.0}


def test_what_a_thread_used_before_it_waited_belongs_to_the_functions_it_was_seen_in() -> None:
    seen = {"concurrent.futures.thread._worker": 3.0, "a.f": 2.0, "a.g": 1.0}
    assert at_work(seen) == {"a.f": 4.0, "a.g": 2.0}
    assert at_work({"concurrent.futures.thread._worker": 3.0}) == {"concurrent.futures.thread._worker": 3.0}


def test_a_frame_is_named_after_its_module_and_function() -> None:
    assert function_of(sys._getframe()).endswith(  # noqa: SLF001  # a frame to name
        "test_pipeline_parts.test_a_frame_is_named_after_its_module_and_function"
    )


def test_a_sampler_sees_which_function_uses_the_processor() -> None:
    sampler = Sampler()
    sampler.start()
    _burn(0.06)
    seen: Counter[str] = Counter()
    for second in sampler.stop():
        seen.update(second.ms.get("MainThread", {}))
    assert seen[f"{__name__}._burn"] > 10


def _burn(cpu_s: float) -> None:
    end_s = time.thread_time() + cpu_s
    while time.thread_time() < end_s:
        pass


def test_pictures_stand_two_in_a_row(tmp_path: Path) -> None:
    def panel(axes: Axes) -> None:
        axes.set_title("x")

    draw([panel] * 3, tmp_path / "plot.png")
    picture = cv2.imread(str(tmp_path / "plot.png"))
    assert picture is not None
    assert picture.shape[:2] == (1080, 1440)


def test_a_part_that_fails_is_missing_and_has_no_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_site: object, _plan: Plan) -> Measured:
        raise FramematchError("no broker")

    monkeypatch.setitem(PARTS, "latency", fail)
    found = Results(figures={"kept": Figure(1, 1, 1, "s")})
    assert measure("latency", None, QUICK, found) == []  # type: ignore[arg-type]  # a site that nobody looks at
    assert found.missing == {"latency": "no broker"}
    assert "latency failed: no broker" in capsys.readouterr().err
