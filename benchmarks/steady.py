"""The rate of a run in its steady state, from when each of its batches or events was done."""

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


def steady_event_rate(times_s: Sequence[float], *, warm_up: int) -> float:
    """Events a second after a warm-up of at least `warm_up` and less than twice as many events.

    Events come in bursts, one for each batch. A warm-up that ended within a burst would count the rest of it, which
    took no time; so it ends at the longest pause there. Give at least a batch of events as `warm_up`.

    Raises:
        ValueError: too few events are left to measure, `warm_up` is below 1, or no time went by.
    """
    ordered = sorted(times_s)
    if not 1 <= warm_up <= (len(ordered) - 1) // 2:
        raise ValueError(f"{len(ordered)} events leave too little to measure after a warm-up of {warm_up}")
    first = max(range(warm_up, 2 * warm_up), key=lambda number: ordered[number] - ordered[number - 1])
    elapsed_s = ordered[-1] - ordered[first - 1]
    if elapsed_s <= 0:
        raise ValueError("all events came at the same time")
    return (len(ordered) - first) / elapsed_s
