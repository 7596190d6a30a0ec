"""The rate of a run in its steady state, from when each of its batches was done."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BatchDone:
    """When a batch was done, in seconds of any clock, and how many frames it held."""

    at_s: float
    frames: int


def steady_rate(batches: Sequence[BatchDone], *, warm_up: int) -> float:
    """Frames a second over the batches after the first `warm_up`, in the order in which they were done.

    The time runs from the end of the last warm-up batch to the end of the last batch: neither the start of a process
    nor the filling of a pipeline counts, and its emptying is as fast as its last batch.

    Raises:
        ValueError: no batch is left to measure, `warm_up` is below 1, or no time went by.
    """
    ordered = sorted(batches, key=lambda batch: batch.at_s)
    if not 1 <= warm_up < len(ordered):
        raise ValueError(f"{len(ordered)} batches leave nothing to measure after a warm-up of {warm_up}")
    elapsed_s = ordered[-1].at_s - ordered[warm_up - 1].at_s
    if elapsed_s <= 0:
        raise ValueError("all batches were done at the same time")
    return sum(batch.frames for batch in ordered[warm_up:]) / elapsed_s
