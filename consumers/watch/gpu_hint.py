"""Who waits for whom: the GPU for the consumer, or the consumer for the GPU."""

from dataclasses import dataclass
from typing import Literal

from framematch.vision.triton_statistics import ServingRates

Hint = Literal["idle", "balanced", "gpu_waits_for_consumer", "consumer_waits_for_gpu"]

SATURATED_PERCENT = 90.0
"""From here on the model's instances, or the GPU, count as busy all the time."""
HALF_IDLE_PERCENT = 50.0
"""Below there is room for twice as much."""
ALWAYS_QUEUED = 1.0
"""From so many requests in Triton's queue on average, there is always one to run next."""


@dataclass(frozen=True)
class ConsumerLoad:
    """How much a consumer has to do.

    `waiting_frames` are those on which no stage works yet, in Kafka and fetched. `slots_busy_percent` is the share of
    its slots for batches that are with Triton or the index.
    """

    waiting_frames: int
    slots_busy_percent: float


def hint(rates: ServingRates, load: ConsumerLoad, *, batch_size: int, utilisation_percent: float | None = None) -> Hint:
    """What stands in the way of more frames a second; `utilisation_percent` is the GPU's.

    Without a backlog of a full batch nothing does: `idle` when the model stands still for half of the time or more,
    else `balanced`. With one, either the model is busy all the time or requests queue up before it, and the consumer
    waits; or neither, and the GPU waits.
    """
    busy_percent = max(rates.busy_percent, utilisation_percent or 0.0)
    if load.waiting_frames < batch_size:
        return "idle" if busy_percent < HALF_IDLE_PERCENT else "balanced"
    if busy_percent >= SATURATED_PERCENT or rates.queued_requests >= ALWAYS_QUEUED:
        return "consumer_waits_for_gpu"
    return "gpu_waits_for_consumer"
