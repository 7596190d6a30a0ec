"""Several samples of a GPU as one."""

from dataclasses import replace

from framematch.core.gpu import GpuSample, mean_of

SAMPLE = GpuSample(0, "Test GPU", 40, 1_000, 8_000, 100.0, 50)


def test_utilisation_and_power_are_means_and_all_else_is_the_last() -> None:
    later = replace(SAMPLE, utilisation_percent=80, memory_used_bytes=2_000, power_watts=200.0, temperature_celsius=60)
    assert mean_of([SAMPLE, later]) == replace(later, utilisation_percent=60, power_watts=150)


def test_what_the_gpu_does_not_report_stays_unknown() -> None:
    silent = replace(SAMPLE, utilisation_percent=None, power_watts=None)
    assert mean_of([silent, silent]) == silent
