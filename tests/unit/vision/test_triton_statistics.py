"""Rates between two readings of Triton's counters."""

from dataclasses import replace

import pytest

from framematch.vision.triton_statistics import ModelStatistics, rates_of

MS = 1_000_000
BEFORE = ModelStatistics("clip_image", 2, 100, 900, 60, 500 * MS, 3_000 * MS, 600 * MS)
AFTER = ModelStatistics("clip_image", 2, 120, 1_100, 70, 900 * MS, 4_000 * MS, 700 * MS)


def test_counters_since_a_reading_are_the_difference() -> None:
    assert AFTER.since(BEFORE) == ModelStatistics("clip_image", 2, 20, 200, 10, 400 * MS, 1_000 * MS, 100 * MS)


def test_the_rates_are_per_run_per_request_and_per_second() -> None:
    rates = rates_of(AFTER.since(BEFORE), seconds=2.0)
    assert rates.inferences_per_second == 100
    assert rates.mean_batch_size == 20
    assert (rates.mean_queue_ms, rates.mean_compute_ms, rates.mean_copy_ms) == (20, 100, 10)
    assert rates.busy_percent == pytest.approx(100 * 1.1 / (2 * 2))  # 1.1 s of runs, on two instances for two seconds
    assert rates.queued_requests == pytest.approx(0.2)


def test_after_a_restart_the_whole_reading_counts() -> None:
    restarted = ModelStatistics("clip_image", 1, 3, 24, 3, 6 * MS, 30 * MS, 3 * MS)
    assert restarted.since(BEFORE) == restarted


def test_a_restart_with_as_many_requests_is_detected_by_the_runs() -> None:
    restarted = replace(AFTER, runs=5)
    assert restarted.since(BEFORE) == restarted


def test_without_a_run_there_are_no_means() -> None:
    rates = rates_of(BEFORE.since(BEFORE), seconds=1.0)
    assert (rates.inferences_per_second, rates.busy_percent, rates.queued_requests) == (0, 0, 0)
    assert rates.mean_batch_size is rates.mean_queue_ms is rates.mean_compute_ms is rates.mean_copy_ms is None


def test_runs_that_started_earlier_never_exceed_all_of_the_interval() -> None:
    assert rates_of(AFTER.since(BEFORE), seconds=0.1).busy_percent == 100
