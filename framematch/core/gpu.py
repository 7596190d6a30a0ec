"""GPU metrics from NVML: utilisation, memory, power and temperature."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Self

import pynvml
import structlog

log = structlog.get_logger()

_MILLIWATTS_PER_WATT = 1_000


@dataclass(frozen=True)
class GpuSample:
    """One reading of one GPU; a value is None when this GPU does not report it."""

    gpu: int
    name: str
    utilisation_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    power_watts: float | None
    temperature_celsius: int | None


class Gpus:
    """An async context that reads this machine's GPUs through NVML.

    It logs `gpu_absent` once when there is no GPU or driver, and `gpu_read_failed` once per outage of a GPU.
    """

    def __init__(self) -> None:
        self._present = False
        self._failing = False

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(pynvml.nvmlInit)
        except pynvml.NVMLError as error:
            log.info("gpu_absent", reason=str(error))
            return self
        self._present = True
        if not await asyncio.to_thread(pynvml.nvmlDeviceGetCount):
            log.info("gpu_absent", reason="the driver reports no GPU")
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._present:
            pynvml.nvmlShutdown()

    async def read(self) -> list[GpuSample]:
        """One sample per GPU; empty without a GPU, or while one cannot be read."""
        if not self._present:
            return []
        try:
            samples = await asyncio.to_thread(read_gpus)
        except pynvml.NVMLError as error:
            if not self._failing:
                log.warning("gpu_read_failed", reason=str(error))
            self._failing = True
            return []
        self._failing = False
        return samples


def mean_of(samples: Sequence[GpuSample]) -> GpuSample:
    """Merge samples of one GPU, oldest first: mean utilisation and power, and the last value of everything else."""
    return replace(
        samples[-1],
        utilisation_percent=_mean([sample.utilisation_percent for sample in samples]),
        power_watts=_mean([sample.power_watts for sample in samples]),
    )


def read_gpus() -> list[GpuSample]:
    """One sample per GPU; NVML must be initialised.

    Raises:
        pynvml.NVMLError: the driver or a GPU cannot be read.
    """
    return [_read(index) for index in range(pynvml.nvmlDeviceGetCount())]


def _read(index: int) -> GpuSample:
    device = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = pynvml.nvmlDeviceGetName(device)
    utilisation = _supported(pynvml.nvmlDeviceGetUtilizationRates, device)
    memory = _supported(pynvml.nvmlDeviceGetMemoryInfo, device)
    power_milliwatts = _supported(pynvml.nvmlDeviceGetPowerUsage, device)
    return GpuSample(
        gpu=index,
        name=name.decode() if isinstance(name, bytes) else name,
        utilisation_percent=utilisation.gpu if utilisation else None,
        memory_used_bytes=memory.used if memory else None,
        memory_total_bytes=memory.total if memory else None,
        power_watts=None if power_milliwatts is None else power_milliwatts / _MILLIWATTS_PER_WATT,
        temperature_celsius=_supported(pynvml.nvmlDeviceGetTemperature, device, pynvml.NVML_TEMPERATURE_GPU),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 3) if known else None


def _supported(read: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except pynvml.NVMLError_NotSupported:
        return None
