"""Logs and exports, at an interval, the GPU's figures, Triton's statistics and the consumer's load."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, fields
from statistics import fmean
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge

from consumers.monitoring.gpu_hint import ConsumerLoad, Hint, hint
from framematch.core.errors import ModelError, TritonUnavailableError
from framematch.core.gpu import Gpus, GpuSample, mean_of
from framematch.vision.triton_statistics import ModelStatistics, ServingRates, rates_of

log = structlog.get_logger()

_SAMPLES = 10  # in an interval: utilisation and load change much faster
_GPU_GAUGES = {
    "utilisation_percent": "Share of the last interval in which a kernel ran",
    "memory_used_bytes": "Device memory in use",
    "memory_total_bytes": "Device memory in total",
    "power_watts": "Power drawn",
    "temperature_celsius": "Temperature of the chip",
}
_TRITON_GAUGES = {
    "inferences_per_second": "Pictures embedded, of all clients",
    "mean_batch_size": "Pictures in a run of the model",
    "mean_queue_ms": "How long a request waited in Triton",
    "mean_compute_ms": "How long the model took for a run",
    "mean_copy_ms": "How long inputs and outputs of a run took",
    "busy_percent": "Share of the last interval in which the model's instances ran",
    "queued_requests": "Requests that waited in Triton, on average",
}


class GpuMonitor:
    """Every `interval_s`: logs `gpu_sampled` for each GPU, and sets the metrics `framematch_gpu_…` and `…_triton_…`.

    Without a GPU `gpu_absent` is logged once, and the samples lack the GPU's figures. Triton's figures are missing
    while it is unavailable. `statistics` is `ImageEncoder.statistics`.
    """

    def __init__(
        self,
        interval_s: float,
        statistics: Callable[[], Awaitable[ModelStatistics]],
        load: Callable[[], ConsumerLoad],
        *,
        batch_size: int,
        registry: CollectorRegistry,
    ) -> None:
        self._interval_s = interval_s
        self._statistics = statistics
        self._load = load
        self._batch_size = batch_size
        self._gauges = _Gauges(registry)
        self._refused = False

    async def run(self) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        async with Gpus() as gpus:
            before, before_s = await self._read_statistics(), loop.time()
            while True:
                samples, load = await self._sample(gpus)
                now, now_s = await self._read_statistics(), loop.time()
                rates = _rates(before, now, now_s - before_s)
                self._report(samples, rates, load)
                before, before_s = now, now_s

    async def _sample(self, gpus: Gpus) -> tuple[list[GpuSample], ConsumerLoad]:
        """Sample several times in an interval; only frames that waited at every sample are a backlog."""
        samples: dict[int, list[GpuSample]] = {}
        loads = []
        for _ in range(_SAMPLES):
            await asyncio.sleep(self._interval_s / _SAMPLES)
            loads.append(self._load())
            for sample in await gpus.read():
                samples.setdefault(sample.gpu, []).append(sample)
        waiting_frames = min(load.waiting_frames for load in loads)
        slots_busy_percent = fmean(load.slots_busy_percent for load in loads)
        return [mean_of(found) for found in samples.values()], ConsumerLoad(waiting_frames, slots_busy_percent)

    async def _read_statistics(self) -> ModelStatistics | None:
        try:
            found = await self._statistics()
        except TritonUnavailableError:  # inference waits for it, and logs that
            return None
        except ModelError as error:
            if not self._refused:
                log.warning("triton_statistics_refused", error=str(error))
            self._refused = True
            return None
        self._refused = False
        return found

    def _report(self, samples: list[GpuSample], rates: ServingRates | None, load: ConsumerLoad) -> None:
        verdict = None
        if rates is not None:
            # Of several GPUs the least busy one: which of them Triton uses is not known here.
            utilisation = min((sample.utilisation_percent or 0.0 for sample in samples), default=None)
            verdict = hint(rates, load, batch_size=self._batch_size, utilisation_percent=utilisation)
        self._gauges.show(samples, rates, verdict)
        common = {**_fields(rates, ServingRates), **asdict(load), "hint": verdict}
        gpus: list[GpuSample | None] = [*samples] or [None]
        for gpu in gpus:
            figures = _fields(gpu, GpuSample) | common
            rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
            log.info("gpu_sampled", **rounded)


def _rates(before: ModelStatistics | None, now: ModelStatistics | None, seconds: float) -> ServingRates | None:
    """The rates between two readings of one model."""
    if before is None or now is None or before.model != now.model:
        return None
    return rates_of(now.since(before), seconds)


class _Gauges:
    """The same figures for Prometheus, without those that are not known at the moment."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gpu = {
            name: Gauge(f"framematch_gpu_{name}", text, ["gpu"], registry=registry)
            for name, text in _GPU_GAUGES.items()
        }
        self._triton = {
            name: Gauge(f"framematch_triton_{name}", text, ["model"], registry=registry)
            for name, text in _TRITON_GAUGES.items()
        }
        self._hint = Gauge("framematch_gpu_hint", "1 for the hint of the last interval", ["hint"], registry=registry)

    def show(self, samples: list[GpuSample], rates: ServingRates | None, verdict: Hint | None) -> None:
        for gauge in (*self._gpu.values(), *self._triton.values(), self._hint):
            gauge.clear()
        for sample in samples:
            _set(self._gpu, str(sample.gpu), asdict(sample))
        if rates is not None:
            _set(self._triton, rates.model, asdict(rates))
        if verdict is not None:
            self._hint.labels(verdict).set(1)


def _set(gauges: Mapping[str, Gauge], label: str, figures: Mapping[str, Any]) -> None:
    for name, gauge in gauges.items():
        if figures[name] is not None:
            gauge.labels(label).set(figures[name])


def _fields(figures: GpuSample | ServingRates | None, kind: type[GpuSample | ServingRates]) -> dict[str, Any]:
    """All fields by name, each None without figures, so that every log line has the same fields."""
    return dict.fromkeys(field.name for field in fields(kind)) if figures is None else asdict(figures)
