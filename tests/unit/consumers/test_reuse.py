"""Regions that follow another: when they get its decision, and when they have to go through the model themselves."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumers.stages.batcher import RegionOf
from consumers.stages.reuse import Reuse
from consumers.stages.still import StillScenes
from consumers.work import Work
from framematch.core.errors import BadFrameError
from framematch.core.frames import Frame
from framematch.matching.decision import Decision
from tests.unit.consumers.made_up_work import record

BAD = BadFrameError("invalid_embedding", "no embedding")
KIWI, LEEK = Decision("match", 0.9, 0.5, ()), Decision("match", 0.8, 0.5, ())


def reusing() -> Reuse:
    return Reuse(StillScenes(max_age_s=2.0))


def frame(sequence: int, *levels: int, camera: str = "till-1") -> Work:
    """A prepared frame with a region of one grey level for each of `levels`."""
    made = Work(record(sequence), camera, 1, 0, Frame(camera, sequence * 200_000, sequence))
    made.regions = tuple((number, 0, 1, 1) for number in range(len(levels)))
    made.crops = tuple(np.full((16, 16, 3), level, np.uint8) for level in levels)
    return made


def infer(batch: Sequence[RegionOf], decision: Decision = KIWI) -> Sequence[RegionOf]:
    """As the model does."""
    for region in batch:
        region.work.decisions[region.number] = decision
    return batch


def frame_id(work: Work) -> str:
    assert work.frame
    return work.frame.id


def test_a_still_frame_after_the_decision_is_complete_at_once_and_names_the_frame_it_is_from() -> None:
    reuse, first, second = reusing(), frame(0, 50), frame(1, 50)
    reuse.settle(infer(reuse.admit(first)))
    assert reuse.admit(second) == []
    assert second.complete
    assert second.decisions == {0: KIWI}
    assert second.reused_from == {0: frame_id(first)}


def test_a_still_frame_before_the_decision_waits_for_it() -> None:
    reuse, first, second = reusing(), frame(0, 50), frame(1, 50)
    batch = reuse.admit(first)
    assert reuse.admit(second) == []
    assert not second.complete
    settled = reuse.settle(infer(batch))
    assert settled.decided == {second}
    assert second.complete
    assert second.decisions == {0: KIWI}


def test_only_the_region_that_changed_goes_through_the_model() -> None:
    reuse, first, second = reusing(), frame(0, 50, 50), frame(1, 50, 90)
    reuse.settle(infer(reuse.admit(first)))
    batch = reuse.admit(second)
    assert [region.number for region in batch] == [1]
    assert not second.complete
    reuse.settle(infer(batch, LEEK))
    assert second.decisions == {0: KIWI, 1: LEEK}


def test_followers_of_a_bad_frame_go_through_the_model_the_first_of_them_for_the_others() -> None:
    reuse, bad, second, third = reusing(), frame(0, 50), frame(1, 50), frame(2, 50)
    batch = reuse.admit(bad)
    reuse.admit(second)
    reuse.admit(third)
    bad.bad = BAD
    settled = reuse.settle(infer(batch))
    assert [region.work for region in settled.to_infer] == [second]
    assert not settled.decided
    assert reuse.settle(infer(settled.to_infer, LEEK)).decided == {third}
    assert third.decisions == {0: LEEK}
    assert third.reused_from == {0: frame_id(second)}


def test_a_follower_that_is_bad_by_another_region_is_not_given_back() -> None:
    reuse, first, second = reusing(), frame(0, 50), frame(1, 50)
    batch = reuse.admit(first)
    reuse.admit(second)
    second.bad = BAD
    settled = reuse.settle(infer(batch))
    assert not settled.decided
    assert not settled.to_infer


def test_after_a_rebalance_nothing_is_reused_and_what_was_under_way_brings_nothing() -> None:
    reuse, first, second = reusing(), frame(0, 50), frame(1, 50)
    batch = reuse.admit(first)
    reuse.admit(frame(1, 50))
    reuse.clear()
    settled = reuse.settle(infer(batch))
    assert not settled.decided
    assert [region.work for region in reuse.admit(second)] == [second]


def test_without_scenes_every_region_goes_through_the_model() -> None:
    reuse = Reuse(None)
    for sequence in range(3):
        batch = reuse.admit(frame(sequence, 50, 50))
        assert [region.number for region in batch] == [0, 1]
        settled = reuse.settle(infer(batch))
        assert not settled.decided
        assert not settled.to_infer


@given(
    frames=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.lists(st.integers(0, 20), min_size=1, max_size=3))),
    data=st.data(),
)
def test_every_frame_completes_however_batches_are_formed_ordered_and_fail(
    frames: list[tuple[str, list[int]]], data: st.DataObject
) -> None:
    reuse = reusing()
    works = [frame(number, *levels, camera=camera) for number, (camera, levels) in enumerate(frames)]
    waiting: list[RegionOf] = []
    arriving = list(works)
    while arriving or waiting:
        if arriving and (not waiting or data.draw(st.booleans(), "a frame arrives")):
            waiting += reuse.admit(arriving.pop(0))
            continue
        count = data.draw(st.integers(1, len(waiting)), "regions in the batch")
        order = data.draw(st.permutations(range(len(waiting))), "which of them")
        batch = [waiting[place] for place in order[:count]]
        waiting = [waiting[place] for place in sorted(order[count:])]
        if data.draw(st.booleans(), "one of them is bad"):
            batch[0].work.bad = BAD
        waiting += reuse.settle(infer(batch)).to_infer
    assert all(work.complete for work in works)
