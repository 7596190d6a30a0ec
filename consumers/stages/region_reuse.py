"""Regions of static scenes take the decision of a region that went through the model, once it is there. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from consumers.in_flight_frame import InFlightFrame, Rejected
from consumers.stages.batcher import RegionCrop, region_crops
from consumers.stages.scene_cache import StaticSceneCache, signature_of
from framematch.matching.decision import Decision


@dataclass(eq=False)
class CacheEntry:
    """A region that goes through the model: its decision, once there is one, and the regions that wait for it."""

    frame_id: str
    decision: Decision | None = None
    waiters: list[RegionCrop] = field(default_factory=list)


@dataclass(frozen=True)
class Resolved:
    """The effect of a batch on waiting regions: frames with a new decision, and regions for the model after all."""

    decided: set[InFlightFrame]
    to_infer: list[RegionCrop]


class RegionReuse:
    """Sorts out regions that need not go through the model: single-flight, as several requests of one cache key.

    Without a `cache` all regions go through the model. Guarantees: a region that `lookup` does not return has a
    decision, or gets one by `resolve` of the batch that it waits for, or is returned from there for the model.
    """

    def __init__(self, cache: StaticSceneCache[CacheEntry] | None) -> None:
        self._cache = cache
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
                self._invalidate(region)
                resolved.to_infer.extend(self._misses(waiters))
            else:
                entry.decision = region.frame.decision(region.number)
                for waiter in waiters:
                    waiter.frame.decide(waiter.number, entry.decision, reused_from=entry.frame_id)
                resolved.decided.update(waiter.frame for waiter in waiters)
        return resolved

    def _misses(self, regions: Iterable[RegionCrop]) -> list[RegionCrop]:
        return [region for region in regions if self._cache is None or self._misses_cache(region, self._cache)]

    def _misses_cache(self, region: RegionCrop, cache: StaticSceneCache[CacheEntry]) -> bool:
        """Whether a region must go through the model. If not, it has a decision now, or waits for one."""
        header = region.frame.header
        if header is None:
            return True
        own = CacheEntry(header.id)
        box, signature = region.frame.regions[region.number], signature_of(region.crop)
        entry = cache.lookup(header.camera, box, signature, header.captured_at_us, own)
        if entry is None:
            self._in_flight[region.frame, region.number] = own
        elif entry.decision is None:
            entry.waiters.append(region)
        else:
            region.frame.decide(region.number, entry.decision, reused_from=entry.frame_id)
        return entry is None

    def _invalidate(self, region: RegionCrop) -> None:
        header = region.frame.header
        if self._cache is not None and header is not None:
            self._cache.invalidate(header.camera, region.frame.regions[region.number])
