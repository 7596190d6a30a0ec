"""Forms batches of regions, of any frames: closed when full, when the model is idle, or after a window of time."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consumers.in_flight_frame import InFlightFrame
from framematch.core.arrays import Pixels
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.region_rows import RegionRow


@dataclass(frozen=True)
class RegionCrop:
    """One region of a frame, by its number, and what the model takes: its pixels, uint8 [H, W, 3].

    When Triton decodes, `crop` is None, and `row` is what the pixels are made of.
    """

    frame: InFlightFrame
    number: int
    crop: Pixels | None
    served: ServedSnapshot | None = None
    row: RegionRow | None = None

    @property
    def pixels(self) -> Pixels:
        """The crop, where this process decodes."""
        if self.crop is None:
            raise ValueError("Triton decodes this region, so its pixels are not here")
        return self.crop


def region_crops(frame: InFlightFrame) -> list[RegionCrop]:
    """The regions of a prepared frame that have no decision yet, in their order."""
    found = [RegionCrop(frame, number, crop, frame.served) for number, crop in enumerate(frame.crops)]
    found += [RegionCrop(frame, number, None, frame.served, row) for number, row in enumerate(frame.rows)]
    return [region for region in found if not frame.has_decision(region.number)]


def served_of(batch: Sequence[RegionCrop]) -> ServedSnapshot:
    """The snapshot that the regions of a batch, at least one, are decided with."""
    served = batch[0].served
    if served is None:
        raise ValueError("the batch has a frame that was not prepared")
    return served


class Batcher:
    """A queue of regions, from which batches are taken. Times are of any clock, in seconds. No I/O.

    A frame with more regions than fit into a batch is continued in the next one. All regions of a batch are for the
    same served snapshot.
    """

    def __init__(self, *, batch_size: int, window_s: float) -> None:
        self._batch_size = batch_size
        self._window_s = window_s
        self._waiting: deque[tuple[RegionCrop, float]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, regions: Iterable[RegionCrop], since_s: float) -> None:
        """Append the regions of a frame, which has waited since `since_s`."""
        self._waiting.extend((region, since_s) for region in regions)

    def due_in_s(self, now_s: float, *, idle: bool = False) -> float | None:
        """How long until a batch closes: 0 when it is full or its time has come, None when no region waits.

        While the model is `idle` no time is gained by waiting: more regions form the next batch.
        """
        if not self._waiting:
            return None
        if idle or len(self._waiting) >= self._batch_size:
            return 0.0
        return max(0.0, self._waiting[0][1] + self._window_s - now_s)

    def pop_batch(self) -> list[RegionCrop]:
        """Close a batch: the oldest regions that are for one served snapshot, at most `batch_size`."""
        batch: list[RegionCrop] = []
        while self._waiting and len(batch) < self._batch_size:
            if batch and self._waiting[0][0].served is not batch[0].served:
                break
            batch.append(self._waiting.popleft()[0])
        return batch
