"""Merging samples of a GPU."""

from dataclasses import replace

from framematch.core.gpu import GpuSample, mean_of

SAMPLE = GpuSample(0, "Test GPU", 40, 1_000, 8_000, 100.0, 50)


def test_samples_merge_to_mean_utilisation_and_power_and_otherwise_the_last_value() -> None:
    later = replace(SAMPLE, utilisation_percent=80, memory_used_bytes=2_000, power_watts=200.0, temperature_celsius=60)
    assert mean_of([SAMPLE, later]) == replace(later, utilisation_percent=60, power_watts=150)


def test_values_that_the_gpu_does_not_report_stay_unknown() -> None:
    silent = replace(SAMPLE, utilisation_percent=None, power_watts=None)
    assert mean_of([silent, silent]) == silent
