"""What Triton counts of a model, and what that says of the time between two looks."""

from dataclasses import dataclass
from typing import Any

_NS_PER_S = 1e9
_NS_PER_MS = 1e6


@dataclass(frozen=True)
class ModelStatistics:
    """Counts since the model was loaded, of all of Triton's clients; times are sums in nanoseconds.

    A run is one execution of one batch, made of one or more requests. `compute_ns` is the model itself, `copy_ns` is
    what a run takes to gather its inputs and to hand out its outputs. `instances` of the model can run side by side.
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
        """What came after `before`. When Triton was restarted or the model reloaded, that is all there is now."""
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
    """How a model was served for a while. Means are None when there was nothing to take the mean of.

    `busy_percent` is the share of the time in which its instances ran; `queued_requests` is how many requests waited on
    average, which by Little's law is the time that they waited in all, by the time that has passed.
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
    """The rates of what was counted in `seconds`, as `ModelStatistics.since` gives it."""
    passed_ns = seconds * _NS_PER_S
    return ServingRates(
        model=counted.model,
        inferences_per_second=counted.inferences / seconds,
        mean_batch_size=_mean(counted.inferences, counted.runs),
        mean_queue_ms=_mean(counted.queue_ns / _NS_PER_MS, counted.requests),
        mean_compute_ms=_mean(counted.compute_ns / _NS_PER_MS, counted.runs),
        mean_copy_ms=_mean(counted.copy_ns / _NS_PER_MS, counted.runs),
        # Runs that began before are counted when they end: a short look can see more than there was time for.
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
    # By batch size: there each run is counted once, elsewhere once for each of its requests.
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
