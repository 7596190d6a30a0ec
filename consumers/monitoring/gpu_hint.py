"""Finds the bottleneck: does the GPU wait for the consumer, or the consumer for the GPU?"""

from dataclasses import dataclass
from typing import Literal

from framematch.vision.triton_statistics import ServingRates

Hint = Literal["idle", "balanced", "gpu_waits_for_consumer", "consumer_waits_for_gpu"]

SATURATED_PERCENT = 90.0
"""From this on the model's instances, or the GPU, count as always busy."""
HALF_IDLE_PERCENT = 50.0
"""Below this, twice the load would fit."""
ALWAYS_QUEUED = 1.0
"""With this many requests in Triton's queue on average, there is always one to run next."""


@dataclass(frozen=True)
class ConsumerLoad:
    """How much work a consumer has.

    `waiting_frames` are those that no stage works on yet, in Kafka or fetched. `slots_busy_percent` is the share of
    `batches_in_flight` that are at Triton or the index.
    """

    waiting_frames: int
    slots_busy_percent: float


def hint(rates: ServingRates, load: ConsumerLoad, *, batch_size: int, utilisation_percent: float | None = None) -> Hint:
    """What limits the frames a second; `utilisation_percent` is the GPU's.

    With less than a full batch waiting nothing does: `idle` when the model is unused for at least half of the time,
    else `balanced`. With a backlog the consumer waits when the model is always busy or requests queue up before it;
    otherwise the GPU waits.
    """
    busy_percent = max(rates.busy_percent, utilisation_percent or 0.0)
    if load.waiting_frames < batch_size:
        return "idle" if busy_percent < HALF_IDLE_PERCENT else "balanced"
    if busy_percent >= SATURATED_PERCENT or rates.queued_requests >= ALWAYS_QUEUED:
        return "consumer_waits_for_gpu"
    return "gpu_waits_for_consumer"
