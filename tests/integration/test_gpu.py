"""The NVML path, driven for real: pynvml loads a small shared library compiled here in place of the driver's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
import asyncio
from prometheus_client import generate_latest
from framematch.core.gpu import GpuSampler
from framematch.core.logging import configure_logging
from framematch.core.metrics import new_registry

async def main():
    registry = new_registry()
    try:
        await asyncio.wait_for(GpuSampler(0.01, registry).run(), 0.5)
    except TimeoutError:
        pass
    print(generate_latest(registry).decode())

configure_logging("info", "json")
asyncio.run(main())
"""


def run_sampler(library_folder: Path) -> tuple[list[dict[str, object]], str]:
    """Log lines and metrics of half a second of sampling with `library_folder` first on the loader's path."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library_folder)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stderr.splitlines()], done.stdout


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here, which builds the stand-in for the driver's library")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(LIBRARY)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "nvml.c"], check=True)
    return folder


@pytest.mark.integration
def test_figures_of_the_gpu_are_logged_and_exported(nvml: Path) -> None:
    lines, metrics = run_sampler(nvml)
    sample = next(line for line in lines if line["event"] == "gpu_sampled")
    assert (sample["name"], sample["utilisation_percent"], sample["temperature_celsius"]) == ("Test GPU", 73, 61)
    assert (sample["memory_used_bytes"], sample["memory_total_bytes"]) == (2**30, 2**33)
    assert 'framematch_gpu_utilisation_percent{gpu="0"} 73.0' in metrics


@pytest.mark.integration
def test_a_figure_that_the_gpu_does_not_report_is_left_out(nvml: Path) -> None:
    lines, metrics = run_sampler(nvml)
    assert next(line for line in lines if line["event"] == "gpu_sampled")["power_watts"] is None
    assert "framematch_gpu_power_watts{" not in metrics


@pytest.mark.integration
def test_a_lost_gpu_is_said_once_and_sampling_goes_on(nvml: Path) -> None:
    events = [line["event"] for line in run_sampler(nvml)[0]]
    assert events.count("gpu_read_failed") == 1
    assert events.index("gpu_read_failed") < len(events) - 1


def test_without_a_driver_it_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    lines, _ = run_sampler(tmp_path)
    assert [line["event"] for line in lines] == ["gpu_absent"]
