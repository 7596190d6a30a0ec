"""Static scenes need no inference: a region takes the decision of one that looks like it, once there is one. No I/O."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from consumers.in_flight_frame import InFlightFrame, Rejected
from consumers.stages.batcher import RegionCrop, region_crops
from framematch.core.arrays import Pixels
from framematch.core.frames import Frame, Region
from framematch.core.units import US_PER_S
from framematch.matching.decision import Decision

Signature = NDArray[np.uint8]
"""A picture scaled down to [16, 16, 3], RGB, which averages the noise of a camera out."""

# Levels of 255. With it a third of the frames of the demo's feeds are static, and as many products are found as
# without; two frames that show different products differ by 107 or more.
MAX_DIFFERENCE = 6
_MAX_ENTRIES = 4096  # about 1 KB each
_CELLS = 16


@dataclass(eq=False)
class CacheEntry:
    """A region that goes through the model: its decision, once there is one, and the regions that wait for it."""

    key: tuple[str, Region]
    frame_id: str
    snapshot: tuple[str, int] | None
    captured_at_us: int
    signature: Signature
    decision: Decision | None = None
    waiters: list[RegionCrop] = field(default_factory=list)


@dataclass(frozen=True)
class Resolved:
    """The effect of a batch on waiting regions: frames with a new decision, and regions for the model after all."""

    decided: set[InFlightFrame]
    to_infer: list[RegionCrop]


class StaticSceneCache:
    """An LRU cache of the last region that went through the model, for each camera and box; single-flight.

    Guarantees: a region that `lookup` does not return has a decision, or gets one by `resolve` of the batch that it
    waits for, or is returned from there for the model. It is compared with one that was inferred, never with one that
    was not, so that a slow drift adds up until it is seen, and was captured at most `max_age_s` before or after it.
    """

    def __init__(self, *, max_age_s: float, max_entries: int = _MAX_ENTRIES) -> None:
        self._max_age_us = max_age_s * US_PER_S
        self._max_entries = max_entries
        self._entries: OrderedDict[tuple[str, Region], CacheEntry] = OrderedDict()
        self._in_flight: dict[tuple[InFlightFrame, int], CacheEntry] = {}

    def lookup(self, frame: InFlightFrame) -> list[RegionCrop]:
        """The regions of a prepared frame that must go through the model; the frame may be complete without any."""
        return self._misses(region_crops(frame))

    def resolve(self, batch: Iterable[RegionCrop]) -> Resolved:
        """Give the decisions of a batch to the regions that wait for them; a rejected frame has none to give."""
        resolved = Resolved(set(), [])
        for region in batch:
            entry = self._in_flight.pop((region.frame, region.number), None)
            if entry is None:
                continue
            waiters = [waiter for waiter in entry.waiters if not waiter.frame.complete]
            entry.waiters.clear()
            if isinstance(region.frame.outcome, Rejected):
                self._entries.pop(entry.key, None)
                resolved.to_infer.extend(self._misses(waiters))
            else:
                entry.decision = region.frame.decision(region.number)
                for waiter in waiters:
                    waiter.frame.decide(waiter.number, entry.decision, reused_from=entry.frame_id)
                resolved.decided.update(waiter.frame for waiter in waiters)
        return resolved

    def _misses(self, regions: Iterable[RegionCrop]) -> list[RegionCrop]:
        """The regions that must go through the model. The others have a decision now, or wait for one."""
        return [
            region
            for region in regions
            if (header := region.frame.header) is None or self._misses_cache(region, header)
        ]

    def _misses_cache(self, region: RegionCrop, header: Frame) -> bool:
        key = (header.camera, region.frame.regions[region.number])
        own = CacheEntry(key, header.id, _snapshot(region.frame), header.captured_at_us, signature_of(region.pixels))
        entry = self._entries.get(key)
        hit = entry is not None and self._similar(entry, own)
        if entry is None or not hit:
            self._entries[key] = self._in_flight[region.frame, region.number] = own
        elif entry.decision is None:
            entry.waiters.append(region)
        else:
            region.frame.decide(region.number, entry.decision, reused_from=entry.frame_id)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return not hit

    def _similar(self, one: CacheEntry, other: CacheEntry) -> bool:
        if one.snapshot != other.snapshot:  # its decision is of another snapshot
            return False
        near = abs(one.captured_at_us - other.captured_at_us) <= self._max_age_us
        return near and difference(one.signature, other.signature) <= MAX_DIFFERENCE


def _snapshot(frame: InFlightFrame) -> tuple[str, int] | None:
    """What the frame is decided with, by value: an entry must not keep a snapshot alive."""
    return None if frame.served is None else (frame.served.manifest.id, frame.served.delta)


def signature_of(crop: Pixels) -> Signature:
    """The signature of RGB uint8 [H, W, 3]."""
    return np.asarray(cv2.resize(crop, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.uint8)


def difference(one: Signature, other: Signature) -> int:
    """The largest difference of any cell in any colour, 0 to 255."""
    return int(cv2.norm(one, other, cv2.NORM_INF))
