"""Triton's counters for a model, and the rates between two readings of them."""

from dataclasses import dataclass
from typing import Any

from framematch.core.units import NS_PER_MS, NS_PER_S


@dataclass(frozen=True)
class ModelStatistics:
    """Counters since the model was loaded, for all of Triton's clients; times are sums in nanoseconds.

    A run is one execution of one batch, which has one or more requests. `compute_ns` is the model itself, `copy_ns` is
    the time for gathering inputs and returning outputs. `instances` of the model can run in parallel.
    """

    model: str
    instances: int
    requests: int = 0
    inferences: int = 0
    runs: int = 0
    queue_ns: int = 0
    compute_ns: int = 0
    copy_ns: int = 0

    def since(self, before: "ModelStatistics") -> "ModelStatistics":
        """The difference to `before`. After a restart of Triton or a reload of the model it is the whole reading."""
        if self.requests < before.requests or self.runs < before.runs:
            return self
        return ModelStatistics(
            self.model,
            self.instances,
            self.requests - before.requests,
            self.inferences - before.inferences,
            self.runs - before.runs,
            self.queue_ns - before.queue_ns,
            self.compute_ns - before.compute_ns,
            self.copy_ns - before.copy_ns,
        )


@dataclass(frozen=True)
class ServingRates:
    """How a model was served during an interval. A mean is None when it has no values.

    `busy_percent` is the share of the interval in which its instances ran. `queued_requests` is the mean number of
    waiting requests: by Little's law, the sum of their waiting times divided by the interval.
    """

    model: str
    inferences_per_second: float
    mean_batch_size: float | None
    mean_queue_ms: float | None
    mean_compute_ms: float | None
    mean_copy_ms: float | None
    busy_percent: float
    queued_requests: float


def rates_of(counted: ModelStatistics, seconds: float) -> ServingRates:
    """The rates of `counted`, a difference of two readings (`ModelStatistics.since`), over `seconds`."""
    passed_ns = seconds * NS_PER_S
    return ServingRates(
        model=counted.model,
        inferences_per_second=counted.inferences / seconds,
        mean_batch_size=_mean(counted.inferences, counted.runs),
        mean_queue_ms=_mean(counted.queue_ns / NS_PER_MS, counted.requests),
        mean_compute_ms=_mean(counted.compute_ns / NS_PER_MS, counted.runs),
        mean_copy_ms=_mean(counted.copy_ns / NS_PER_MS, counted.runs),
        # A run counts when it ends, so a short interval can include more run time than it lasted.
        busy_percent=min(100.0, 100.0 * (counted.compute_ns + counted.copy_ns) / (passed_ns * counted.instances)),
        queued_requests=counted.queue_ns / passed_ns,
    )


async def read_statistics(client: Any, model: str, timeout_s: float) -> ModelStatistics:
    """Ask Triton through its gRPC client.

    Raises:
        InferenceServerException: no answer, or there is no such model.
    """
    config = (await client.get_model_config(model, client_timeout=timeout_s)).config
    versions = (await client.get_inference_statistics(model, client_timeout=timeout_s)).model_stats
    # Only the statistics by batch size count each run once; the others count it once per request.
    batches = [batch for version in versions for batch in version.batch_stats]
    return ModelStatistics(
        model=model,
        instances=max(1, sum(group.count * max(1, len(group.gpus)) for group in config.instance_group)),
        requests=sum(version.inference_stats.queue.count for version in versions),
        inferences=sum(version.inference_count for version in versions),
        runs=sum(version.execution_count for version in versions),
        queue_ns=sum(version.inference_stats.queue.ns for version in versions),
        compute_ns=sum(batch.compute_infer.ns for batch in batches),
        copy_ns=sum(batch.compute_input.ns + batch.compute_output.ns for batch in batches),
    )


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None
