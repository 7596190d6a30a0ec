"""How benchmarks read processes, pace frames and judge memory."""

import os
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka.partitioner import DefaultPartitioner

from benchmarks.consumer.conditions import GOOD_PER_BAD, with_poison
from benchmarks.edge import decode
from benchmarks.edge.cameras import Reading, figures
from benchmarks.edge.cameras import Window as CamerasWindow
from benchmarks.edge.capture import Window, results
from benchmarks.edge.publish import CONFLUENT
from benchmarks.frames import camera_names, draw_jpegs, frame_records
from benchmarks.pipeline.memory import Trend, lowest_of_parts, settled, trend_of
from benchmarks.pipeline.paced import Window as PacedWindow
from benchmarks.pipeline.paced import due_times
from benchmarks.processes import (
    check,
    group_cpu_s,
    group_peak_rss_mb,
    group_pss_mb,
    group_use,
    machine_cpu_s,
    parse_cpu_s,
    parse_peak_rss_mb,
    parse_pss_mb,
)
from consumers.stages.decode import read_jpeg
from framematch.core.errors import BadFrameError, FramematchError
from framematch.core.frames import parse_frame
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings
from framematch.vision.triton_statistics import ModelStatistics

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")


@pytest.mark.parametrize("name", ["python", "a b", "x) S 1 (y"])
def test_cpu_time_includes_waited_children_whatever_the_process_is_called(name: str) -> None:
    text = f"7 ({name}) S 3 {'0 ' * 9}10 20 30 40 20 0 1 0"
    assert parse_cpu_s(text) == 100 / TICKS_PER_S


def test_what_a_group_uses_is_told_by_process() -> None:
    own = os.getpid()
    found = group_use(os.getpgid(own))[own]
    assert "python" in found.title or "pytest" in found.title
    assert found.cpu_s > 0 < found.pss_mb
    assert found.threads >= 1 <= found.files


def test_a_machine_has_used_at_least_what_this_process_has() -> None:
    assert machine_cpu_s() >= sum(os.times()[:2])


def test_memory_is_the_proportional_set_size() -> None:
    text = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:   9000 kB\nPss:   2000 kB\nPss_Anon:  1 kB\n"
    assert parse_pss_mb(text) == pytest.approx(2.048)


def test_the_most_memory_is_the_highest_resident_set_size() -> None:
    assert parse_peak_rss_mb("Name:\tpython\nVmPeak:\t  9000 kB\nVmHWM:\t  3000 kB\nVmRSS:\t 2000 kB\n") == 3.072


def test_the_group_of_this_process_has_used_time_and_memory() -> None:
    assert group_cpu_s(os.getpgrp()) > 0
    assert group_peak_rss_mb(os.getpgrp()) >= group_pss_mb(os.getpgrp()) > 1


def test_a_group_that_has_ended_has_no_figures() -> None:
    with pytest.raises(FramematchError, match="has ended"):
        group_cpu_s(2**22 + 1)


def test_an_inference_is_a_mean_over_runs_of_the_model_with_the_copies_of_its_batch() -> None:
    added = ModelStatistics("m", 1, requests=4, inferences=32, runs=2, compute_ns=200_000_000, copy_ns=50_000_000)
    window = PacedWindow(0.0, [], added)
    assert (window.inference_ms, window.mean_batch) == (125.0, 16.0)


@pytest.mark.parametrize(("cameras", "partitions"), [(1, 1), (8, 12), (12, 12)])
def test_each_camera_has_a_partition_of_its_own(cameras: int, partitions: int) -> None:
    numbers = list(range(partitions))
    found = {DefaultPartitioner()(name.encode(), numbers, numbers) for name in camera_names(cameras, partitions)}
    assert len(found) == cameras


def test_frames_are_due_in_order_at_the_rate_and_evenly_for_each_camera() -> None:
    due = due_times(4, 20.0, 10.0, random.Random(1))  # noqa: S311  # phases of cameras
    assert due == sorted(due)
    assert Counter(camera for _, camera in due) == dict.fromkeys(range(4), 50)
    distances = np.diff([at_s for at_s, camera in due if camera == 0])
    assert 0.15 < distances.min() <= distances.max() < 0.25


def rejection(record: ProducerRecord) -> str | None:
    """Why a consumer makes a dead letter of a record."""
    try:
        parse_frame(record.key, record.headers)
        read_jpeg(record.value or b"", max_pixels=50_000_000).decode()
    except BadFrameError as error:
        return error.reason
    return None


def test_one_record_in_a_hundred_is_bad_each_in_another_way() -> None:
    good = list(frame_records(KAFKA, draw_jpegs(2), 4 * GOOD_PER_BAD))
    reasons = [rejection(record) for record in with_poison(good)]
    assert reasons[99::100] == ["truncated", "not_a_jpeg", "too_many_pixels", "headers"]
    assert reasons.count(None) == len(good) == len(reasons) - 4


def test_the_bare_producer_gives_the_edge_s_guarantees() -> None:
    assert (CONFLUENT["acks"], CONFLUENT["enable.idempotence"]) == ("all", True)


def window(cores: float, source_fps: float, pss_mb: float = 100.0, bare_cores: float = 0.1) -> Window:
    return Window(cores, source_fps, pss_mb, bare_cores)


def test_a_camera_is_compared_with_the_same_seconds_of_the_bare_loop() -> None:
    found = results([window(0.12, 30, 110), window(0.2, 30, 110, 0.25)], [window(0.4, 120, 200)] * 2)
    ratio = found.figures["edge_cpu_vs_bare_capture"]
    assert (ratio.low, ratio.high) == pytest.approx((0.8, 1.2))
    assert found.figures["cameras_per_core"].median == pytest.approx(10)
    assert found.figures["memory_per_camera_mb"].median == pytest.approx(30)
    assert not found.missing


def test_what_many_cameras_reach_and_cost_is_by_frame_and_by_camera() -> None:
    end = Reading(0.0, {}, {}, service_mb=90.0, cameras_mb=400.0, processes=43, threads=100, files=240)
    cores = {"service": 0.05, "cameras": 0.45, "mediamtx": 0.1, "broker": 0.1}
    rates = {"published": 150.0, "dropped.overrun": 50.0}
    found = figures(40, [CamerasWindow(cores, rates, ages_ms=[5.0, 9.0], answers_ms=[1.0], end=end)])
    medians = {name: figure.median for name, figure in found.items()}
    assert (medians["wanted"], medians["reached"], medians["dropped.overrun"]) == (200.0, 0.75, 50.0)
    assert medians["cpu_per_frame"] == pytest.approx(0.5 / 150 * 1000)
    assert medians["service_per_camera"] == pytest.approx(1.25)
    assert (medians["memory.camera"], medians["age.p99"]) == (10.0, 9.0)


def test_an_edge_that_fell_behind_has_no_cpu_figures() -> None:
    found = results([window(0.1, 30), window(0.1, 20)], [window(0.4, 100)] * 2)
    assert "edge_cpu_vs_bare_capture" not in found.figures
    assert set(found.missing) == {"edge_cpu_vs_bare_capture", "cameras_per_core"}


def test_cpu_time_is_the_inverse_of_frames_per_cpu_second() -> None:
    found = decode.results(3, [{"needed": 300.0, "full_decode": 210.0, "bare_capture": 240.0}])
    assert found.figures["edge_cpu_vs_full_decode.b_frames_3"].median == pytest.approx(0.7)
    assert found.figures["cameras_per_core.needed.b_frames_3"].median == pytest.approx(10)
    assert found.at_most == {"edge_cpu_vs_full_decode.b_frames_3": 0.75}


def test_memory_is_judged_by_the_lowest_values_after_it_has_settled() -> None:
    samples = [(float(second), 500.0 if second < 100 else 200.0 + 90 * (second % 7 > 0)) for second in range(601)]
    lowest = lowest_of_parts(settled(samples))
    assert [mb for _, mb in lowest] == [200.0] * 12
    assert trend_of(lowest).flat


def test_memory_that_grows_is_not_flat() -> None:
    trend = trend_of([(float(second), 100 + second / 60) for second in range(0, 600, 50)])
    assert trend.per_hour == pytest.approx(60.0)
    assert not trend.flat


@pytest.mark.parametrize(("per_hour", "uncertainty", "flat"), [(1.9, 0.1, True), (2.1, 0.1, False), (9.0, 9.5, True)])
def test_a_slope_is_flat_below_its_uncertainty_or_a_hundredth_an_hour(
    per_hour: float, uncertainty: float, flat: bool
) -> None:
    assert Trend(mean=200, per_hour=per_hour, uncertainty=uncertainty).flat is flat


def test_a_process_that_has_failed_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    log_file.write_text("no decoder")
    failed: Any = SimpleNamespace(exit_code=1, log_file=log_file)
    with pytest.raises(FramematchError, match=r"(?s)the loop ended with exit code 1.*no decoder"):
        check(failed, "the loop")
    for exit_code in (None, 0):
        running: Any = SimpleNamespace(exit_code=exit_code)
        check(running, "the loop")
