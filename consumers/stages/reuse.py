"""Regions of still scenes take the decision of one that went through the model, as soon as it is there. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from consumers.stages.batcher import RegionOf, regions_of
from consumers.stages.still import StillScenes, signature_of
from consumers.work import Work
from framematch.matching.decision import Decision


@dataclass(eq=False)
class Leader:
    """A region that goes through the model: what was decided, once it was, and the regions that wait for it."""

    frame_id: str
    decision: Decision | None = None
    followers: list[RegionOf] = field(default_factory=list)


@dataclass(frozen=True)
class Settled:
    """What a batch brought to others: frames with a new decision, and regions that must go through the model too."""

    decided: set[Work]
    to_infer: list[RegionOf]


class Reuse:
    """Sorts regions into leaders, which go through the model, and followers, which repeat a leader.

    Without `scenes` all are leaders. Guarantees: a region that `admit` keeps back has a decision, or gets one by
    `settle` of its leader's batch, or comes back from there to go through the model itself.
    """

    def __init__(self, scenes: StillScenes[Leader] | None) -> None:
        self._scenes = scenes
        self._leaders: dict[tuple[Work, int], Leader] = {}

    def admit(self, work: Work) -> list[RegionOf]:
        """The regions of a prepared frame that must go through the model; the frame may be complete without any."""
        return self._sort(regions_of(work))

    def settle(self, batch: Iterable[RegionOf]) -> Settled:
        """A batch went through the model: pass on what was decided, but for frames that turned out bad."""
        settled = Settled(set(), [])
        for region in batch:
            leader = self._leaders.pop((region.work, region.number), None)
            if leader is None:
                continue
            followers = [follower for follower in leader.followers if not follower.work.complete]
            leader.followers.clear()
            if region.work.bad is None:
                leader.decision = region.work.decisions[region.number]
                for follower in followers:
                    _take_over(follower, leader.frame_id, leader.decision)
                settled.decided.update(follower.work for follower in followers)
            else:
                self._forget(region)
                settled.to_infer.extend(self._sort(followers))
        return settled

    def clear(self) -> None:
        """The partitions belong to other consumers: nobody waits any more."""
        self._leaders.clear()
        if self._scenes is not None:
            self._scenes.clear()

    def _sort(self, regions: Iterable[RegionOf]) -> list[RegionOf]:
        """The leaders among `regions`."""
        return [region for region in regions if self._scenes is None or self._leads(region, self._scenes)]

    def _leads(self, region: RegionOf, scenes: StillScenes[Leader]) -> bool:
        frame = region.work.frame
        if frame is None:
            return True
        own = Leader(frame.id)
        box, signature = region.work.regions[region.number], signature_of(region.crop)
        leader = scenes.see(frame.camera, box, signature, frame.captured_at_us, own)
        if leader is None:
            self._leaders[region.work, region.number] = own
        elif leader.decision is None:
            leader.followers.append(region)
        else:
            _take_over(region, leader.frame_id, leader.decision)
        return leader is None

    def _forget(self, region: RegionOf) -> None:
        frame = region.work.frame
        if self._scenes is not None and frame is not None:
            self._scenes.forget(frame.camera, region.work.regions[region.number])


def _take_over(region: RegionOf, frame_id: str, decision: Decision) -> None:
    region.work.decisions[region.number] = decision
    region.work.reused_from[region.number] = frame_id
