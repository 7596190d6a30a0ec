"""Who waits for whom: the GPU for the consumer, or the consumer for the GPU."""

from dataclasses import dataclass
from typing import Literal

from framematch.vision.triton_statistics import ServingRates

Hint = Literal["idle", "balanced", "gpu_waits_for_consumer", "consumer_waits_for_gpu"]

SATURATED = 0.9
"""From this share of the time on the model's instances, or every GPU, count as always busy."""
HALF_IDLE = 0.5
"""Below this share there is room for twice as much."""
ALWAYS_QUEUED = 1.0
"""From so many requests in Triton's queue on average, there is always one to run next."""


@dataclass(frozen=True)
class ConsumerLoad:
    """How much a consumer has to do: frames on which no stage works yet, here and in Kafka, and the share (0 to 1) of its
    slots for batches that are with Triton.
    """

    waiting_frames: int
    slots_busy: float


def hint(rates: ServingRates, load: ConsumerLoad, *, batch_size: int, gpu_busy: float | None = None) -> Hint:
    """What stands in the way of more frames a second; `gpu_busy` (0 to 1) is that of the least busy GPU.

    Without a backlog of a full batch nothing does: `idle` when the model stands still for half of the time, else
    `balanced`. With one, either the model is busy all the time, or requests queue up before it, and the consumer waits;
    or it is not, and the GPU waits for frames.
    """
    busy = max(rates.busy, gpu_busy or 0.0)
    if load.waiting_frames < batch_size:
        return "idle" if busy < HALF_IDLE else "balanced"
    if busy >= SATURATED or rates.queued_requests >= ALWAYS_QUEUED:
        return "consumer_waits_for_gpu"
    return "gpu_waits_for_consumer"
