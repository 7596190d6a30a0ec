"""The GPU's figures beside Triton's: pynvml loads a small library compiled here in place of the driver's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

LIBRARY = r"""
#include <string.h>
typedef struct { unsigned gpu, memory; } utilisation_t;
typedef struct { unsigned long long total, free, used; } memory_t;
static int readings = 0;
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 3 ? "Not Supported" : "GPU is lost"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)1; return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned length) { strcpy(name, "Test GPU"); return 0; }
int nvmlDeviceGetUtilizationRates(void *device, utilisation_t *u) {
    if (++readings == 2) return 15;  /* NVML_ERROR_GPU_IS_LOST, once */
    u->gpu = 73; u->memory = 20; return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *m) {
    m->total = 8589934592ULL; m->used = 1073741824ULL; m->free = m->total - m->used; return 0;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { return 3; /* NVML_ERROR_NOT_SUPPORTED */ }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) { *celsius = 61; return 0; }
"""

PROGRAM = """
import asyncio, itertools, sys
from prometheus_client import generate_latest
from consumers.monitoring.gpu import GpuMonitor
from consumers.monitoring.gpu_hint import ConsumerLoad
from framematch.core.errors import TritonUnavailableError
from framematch.core.logging import configure_logging
from framematch.core.health import new_registry
from framematch.vision.triton_statistics import ModelStatistics

samples = itertools.count()

async def statistics():
    if sys.argv[1] == "triton-unreachable":
        raise TritonUnavailableError("unreachable")
    runs = next(samples)
    return ModelStatistics("clip_image", 1, requests=runs, inferences=8 * runs, runs=runs, compute_ns=5_000_000 * runs)

async def main():
    registry = new_registry()
    load = lambda: ConsumerLoad(waiting_frames=0, slots_busy_percent=30)
    try:
        await asyncio.wait_for(GpuMonitor(0.05, statistics, load, batch_size=16, registry=registry).run(), 0.5)
    except TimeoutError:
        pass
    print(generate_latest(registry).decode())

configure_logging("info", "json")
asyncio.run(main())
"""


Report = tuple[list[dict[str, object]], str]


def run_monitor(library_folder: Path, triton: str = "triton-up") -> Report:
    """Log lines and metrics of half a second of sampling with `library_folder` first on the loader's path."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library_folder)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, triton], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stderr.splitlines()], done.stdout


def first_sample(lines: list[dict[str, object]]) -> dict[str, object]:
    return next(line for line in lines if line["event"] == "gpu_sampled")


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here, which builds the fake of the driver's library")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(LIBRARY)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "nvml.c"], check=True)
    return folder


@pytest.fixture(scope="module")
def report(nvml: Path) -> Report:
    return run_monitor(nvml)


@pytest.fixture
def no_driver(tmp_path: Path) -> Path:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    return tmp_path


def test_the_log_and_the_metrics_have_figures_of_the_gpu_of_triton_and_of_the_consumer(report: Report) -> None:
    lines, metrics = report
    sample = first_sample(lines)
    assert (sample["name"], sample["utilisation_percent"], sample["temperature_celsius"]) == ("Test GPU", 73, 61)
    assert (sample["memory_used_bytes"], sample["memory_total_bytes"]) == (2**30, 2**33)
    assert (sample["model"], sample["mean_batch_size"], sample["mean_compute_ms"]) == ("clip_image", 8, 5)
    assert (sample["waiting_frames"], sample["slots_busy_percent"]) == (0, 30)
    assert sample["hint"] == "balanced"
    assert 'framematch_gpu_utilisation_percent{gpu="0"} 73.0' in metrics
    assert 'framematch_triton_mean_batch_size{model="clip_image"} 8.0' in metrics
    assert 'framematch_gpu_hint{hint="balanced"} 1.0' in metrics


def test_a_figure_that_the_gpu_does_not_report_is_omitted(report: Report) -> None:
    lines, metrics = report
    assert first_sample(lines)["power_watts"] is None
    assert "framematch_gpu_power_watts{" not in metrics


def test_a_lost_gpu_is_logged_once_and_sampling_continues(report: Report) -> None:
    events = [line["event"] for line in report[0]]
    assert events.count("gpu_read_failed") == 1
    assert "gpu_sampled" in events[events.index("gpu_read_failed") :]


def test_while_triton_is_unreachable_the_gpu_is_sampled_alone(nvml: Path) -> None:
    lines, metrics = run_monitor(nvml, "triton-unreachable")
    sample = first_sample(lines)
    assert sample["utilisation_percent"] == 73
    assert sample["inferences_per_second"] is sample["hint"] is None
    assert "framematch_triton_mean_batch_size{" not in metrics


def test_without_a_driver_that_is_logged_once_and_triton_is_sampled_alone(no_driver: Path) -> None:
    lines, metrics = run_monitor(no_driver)
    assert [line["event"] for line in lines].count("gpu_absent") == 1
    sample = first_sample(lines)
    assert sample["gpu"] is sample["utilisation_percent"] is None
    assert sample["mean_batch_size"] == 8
    assert "framematch_gpu_utilisation_percent{" not in metrics
