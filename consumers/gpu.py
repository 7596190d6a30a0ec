"""Joins the GPU's figures, Triton's statistics and the consumer's load: logged and exported on an interval."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, fields
from statistics import fmean

import structlog
from prometheus_client import CollectorRegistry, Gauge

from consumers.gpu_hint import ConsumerLoad, Hint, hint
from framematch.core.errors import ModelError, TritonUnavailableError
from framematch.core.gpu import Gpus, GpuSample, mean_of
from framematch.vision.triton_statistics import ModelStatistics, ServingRates, rates_of

log = structlog.get_logger()

_LOOKS = 10  # in an interval: utilisation and load change much faster
_MS_PER_S = 1_000
_GPU_GAUGES = {
    "utilisation_percent": "Share of the last interval in which a kernel ran",
    "memory_used_bytes": "Device memory in use",
    "memory_total_bytes": "Device memory there is",
    "power_watts": "Power drawn",
    "temperature_celsius": "Temperature of the chip",
}


class GpuMonitor:
    """Logs `gpu_sampled` each `interval_s`, once for each GPU, and keeps `framematch_gpu_…` and `framematch_triton_…`.

    Without a GPU it says `gpu_absent` once, and its figures are null from then on; so are Triton's while it is away.
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
        self._missing = False

    async def run(self) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        async with Gpus() as gpus:
            before, before_s = await self._read_statistics(), loop.time()
            while True:
                samples, load = await self._look_around(gpus)
                now, now_s = await self._read_statistics(), loop.time()
                rates = rates_of(now.since(before), now_s - before_s) if before and now else None
                self._tell(samples, rates, load)
                before, before_s = now, now_s

    async def _look_around(self, gpus: Gpus) -> tuple[list[GpuSample], ConsumerLoad]:
        """Look at the GPUs and the consumer several times in an interval; what waited all the time is a backlog."""
        samples: dict[int, list[GpuSample]] = {}
        loads = []
        for _ in range(_LOOKS):
            await asyncio.sleep(self._interval_s / _LOOKS)
            loads.append(self._load())
            for sample in await gpus.read():
                samples.setdefault(sample.gpu, []).append(sample)
        load = ConsumerLoad(min(one.waiting_frames for one in loads), fmean(one.slots_busy for one in loads))
        return [mean_of(found) for found in samples.values()], load

    async def _read_statistics(self) -> ModelStatistics | None:
        try:
            found = await self._statistics()
        except TritonUnavailableError:  # the batches wait for it, and say so
            return None
        except ModelError as error:
            if not self._missing:
                log.warning("triton_statistics_missing", error=str(error))
            self._missing = True
            return None
        self._missing = False
        return found

    def _tell(self, samples: list[GpuSample], rates: ServingRates | None, load: ConsumerLoad) -> None:
        verdict = rates and hint(rates, load, batch_size=self._batch_size, gpu_busy=_least_busy(samples))
        self._gauges.show(samples, rates, verdict)
        for sample in samples or [None]:
            log.info("gpu_sampled", **_gpu_fields(sample), **_serving_fields(rates), **_load_fields(load), hint=verdict)


class _Gauges:
    """The same in Prometheus; what is not known at the moment is not there."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gpu = _gauges("framematch_gpu", _GPU_GAUGES, "gpu", registry)
        self._triton = _gauges("framematch_triton", _TRITON_GAUGES, "model", registry)
        self._hint = Gauge("framematch_gpu_hint", "1 for what holds of the last interval", ["hint"], registry=registry)

    def show(self, samples: list[GpuSample], rates: ServingRates | None, verdict: Hint | None) -> None:
        for gauge in (*self._gpu.values(), *self._triton.values(), self._hint):
            gauge.clear()
        for sample in samples:
            _set(self._gpu, str(sample.gpu), asdict(sample))
        if rates is not None:
            _set(self._triton, rates.model, asdict(rates))
        if verdict is not None:
            self._hint.labels(verdict).set(1)
