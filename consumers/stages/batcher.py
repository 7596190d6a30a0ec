"""Forms batches of regions, of any frames: closed when full, or when the oldest frame has waited long enough."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from consumers.work import Work
from framematch.vision.arrays import Pixels


@dataclass(frozen=True)
class RegionOf:
    """One region of a frame, by its number, and what the model takes of it: uint8 [H, W, 3]."""

    work: Work
    number: int
    crop: Pixels


def regions_of(work: Work) -> list[RegionOf]:
    """All regions of a prepared frame, in their order."""
    return [RegionOf(work, number, crop) for number, crop in enumerate(work.crops)]


class Batcher:
    """Regions wait here for a batch, in the order of `add`. Times are of any clock, in seconds. No I/O.

    A frame with more regions than are left in a batch goes on in the next one.
    """

    def __init__(self, *, batch_size: int, window_s: float) -> None:
        self._batch_size = batch_size
        self._window_s = window_s
        self._waiting: deque[tuple[RegionOf, float]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, regions: Iterable[RegionOf], since_s: float) -> None:
        """A frame's regions are prepared; they have waited since `since_s`."""
        self._waiting.extend((region, since_s) for region in regions)

    def due_in_s(self, now_s: float) -> float | None:
        """How long until a batch closes: 0 when one is full or its time has come, None when no region waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._batch_size:
            return 0.0
        return max(0.0, self._waiting[0][1] + self._window_s - now_s)

    def take(self) -> list[RegionOf]:
        """Close a batch: the oldest regions, `batch_size` at most."""
        return [self._waiting.popleft()[0] for _ in range(min(self._batch_size, len(self._waiting)))]

    def clear(self) -> None:
        """Give up everything."""
        self._waiting.clear()
