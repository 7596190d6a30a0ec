"""Regions that wait in the cache for a decision: when they get it, and when they go through the model after all."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumers.in_flight_frame import Decided, InFlightFrame, Rejected
from consumers.stages.batcher import RegionCrop
from consumers.stages.scene_cache import StaticSceneCache
from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame
from framematch.matching.decision import Decision
from tests.unit.consumers.sample_frames import record

REJECTED = Rejected("infer", BadFrameError("invalid_embedding", "no embedding"))
KIWI, LEEK = Decision("match", 0.9, 0.5, ()), Decision("match", 0.8, 0.5, ())


def new_cache() -> StaticSceneCache:
    return StaticSceneCache(max_age_s=2.0)


def frame(sequence: int, *levels: int, camera: str = "till-1") -> InFlightFrame:
    """A prepared frame with a region of one grey level for each of `levels`."""
    made = InFlightFrame(record(sequence), camera, 0, Frame(camera, sequence * 200_000, sequence))
    made.regions = tuple((number, 0, 1, 1) for number in range(len(levels)))
    made.crops = tuple(np.full((16, 16, 3), level, np.uint8) for level in levels)
    return made


def infer(batch: Sequence[RegionCrop], decision: Decision = KIWI) -> Sequence[RegionCrop]:
    """As the model does."""
    for region in batch:
        region.frame.decide(region.number, decision)
    return batch


def frame_id(frame: InFlightFrame) -> str:
    assert frame.header
    return frame.header.id


def test_a_static_frame_after_the_decision_is_decided_at_once_and_names_the_other_frame() -> None:
    cache, first, second = new_cache(), frame(0, 50), frame(1, 50)
    cache.resolve(infer(cache.lookup(first)))
    assert cache.lookup(second) == []
    assert second.outcome == Decided((KIWI,), {0: frame_id(first)})


def test_a_static_frame_before_the_decision_waits_for_it() -> None:
    cache, first, second = new_cache(), frame(0, 50), frame(1, 50)
    batch = cache.lookup(first)
    assert cache.lookup(second) == []
    assert not second.complete
    resolved = cache.resolve(infer(batch))
    assert resolved.decided == {second}
    assert second.outcome == Decided((KIWI,), {0: frame_id(first)})


def test_only_the_region_that_changed_goes_through_the_model() -> None:
    cache, first, second = new_cache(), frame(0, 50, 50), frame(1, 50, 90)
    cache.resolve(infer(cache.lookup(first)))
    batch = cache.lookup(second)
    assert [region.number for region in batch] == [1]
    assert not second.complete
    cache.resolve(infer(batch, LEEK))
    assert second.outcome == Decided((KIWI, LEEK), {0: frame_id(first)})


def test_the_first_that_waited_for_a_rejected_frame_goes_through_the_model_for_the_others() -> None:
    cache, bad, second, third = new_cache(), frame(0, 50), frame(1, 50), frame(2, 50)
    batch = cache.lookup(bad)
    cache.lookup(second)
    cache.lookup(third)
    bad.outcome = REJECTED
    resolved = cache.resolve(infer(batch))
    assert [region.frame for region in resolved.to_infer] == [second]
    assert not resolved.decided
    assert cache.resolve(infer(resolved.to_infer, LEEK)).decided == {third}
    assert third.outcome == Decided((LEEK,), {0: frame_id(second)})


def test_a_region_that_waits_is_dropped_when_its_frame_is_rejected() -> None:
    cache, first, second = new_cache(), frame(0, 50), frame(1, 50)
    batch = cache.lookup(first)
    cache.lookup(second)
    second.outcome = REJECTED
    resolved = cache.resolve(infer(batch))
    assert not resolved.decided
    assert not resolved.to_infer


def test_after_a_rejected_frame_the_next_one_goes_through_the_model() -> None:
    cache, rejected, second = new_cache(), frame(0, 50), frame(1, 50)
    batch = cache.lookup(rejected)
    rejected.outcome = REJECTED
    cache.resolve(batch)
    assert [region.frame for region in cache.lookup(second)] == [second]


@given(
    frames=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.lists(st.integers(0, 20), min_size=1, max_size=3))),
    data=st.data(),
)
def test_every_frame_completes_however_batches_are_formed_ordered_and_fail(
    frames: list[tuple[str, list[int]]], data: st.DataObject
) -> None:
    cache = new_cache()
    all_frames = [frame(number, *levels, camera=camera) for number, (camera, levels) in enumerate(frames)]
    waiting: list[RegionCrop] = []
    arriving = list(all_frames)
    while arriving or waiting:
        if arriving and (not waiting or data.draw(st.booleans(), "a frame arrives")):
            waiting += cache.lookup(arriving.pop(0))
            continue
        count = data.draw(st.integers(1, len(waiting)), "regions in the batch")
        order = data.draw(st.permutations(range(len(waiting))), "which of them")
        batch = [waiting[place] for place in order[:count]]
        waiting = [waiting[place] for place in sorted(order[count:])]
        if data.draw(st.booleans(), "one of them is bad"):
            batch[0].frame.outcome = REJECTED
        waiting += cache.resolve(infer(batch)).to_infer
    assert all(one.complete for one in all_frames)
