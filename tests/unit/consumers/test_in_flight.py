"""Frames in flight: each comes out once, lanes take turns and keep their order, and the counts are always true."""

import asyncio
from collections import defaultdict
from collections.abc import Hashable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumers.in_flight import InFlight
from consumers.work import Work
from tests.unit.consumers.made_up_work import BAD, prepare, work

MAX_FRAMES, MAX_BYTES = 12, 400
LANES = st.integers(0, 3)


class AnyUse(RuleBasedStateMachine):
    """Any interleaving of what the stages do, beside a model of plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = InFlight(max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)
        self.offset = 0
        self.waiting: dict[Hashable, list[Work]] = defaultdict(list)
        self.taken: dict[Hashable, list[Work]] = defaultdict(list)
        self.answered: list[Work] = []  # not acknowledged yet
        self.overtook: dict[Hashable, set[Hashable]] = {}  # for each lane that waits: who had a turn meanwhile

    @property
    def held(self) -> list[Work]:
        lanes = [*self.waiting.values(), *self.taken.values()]
        return [*(one for lane in lanes for one in lane), *self.answered]

    @rule(lane=LANES, size=st.integers(0, 60))
    def add(self, lane: int, size: int) -> None:
        one = work(self.offset, partition=lane % 2, lane=lane, value=bytes(size))
        self.offset += 1
        self.in_flight.add(one)
        if not self.waiting[lane]:
            self.overtook[lane] = set()
        self.waiting[lane].append(one)

    @rule()
    def take(self) -> None:
        one = self.in_flight.take()
        if one is None:
            assert not any(self.waiting.values())
            return
        assert one is self.waiting[one.lane].pop(0)
        self.taken[one.lane].append(one)
        self.overtook[one.lane] = set()
        for lane, works in self.waiting.items():
            if works and lane != one.lane:
                assert one.lane not in self.overtook[lane]
                self.overtook[lane].add(one.lane)

    @precondition(lambda self: any(self.taken.values()))
    @rule(data=st.data(), regions=st.integers(0, 3))
    def end(self, data: st.DataObject, regions: int) -> None:
        """Some frame that was taken is decoded, or is found to be bad."""
        one = data.draw(st.sampled_from([one for lane in self.taken.values() for one in lane]))
        if regions:
            prepare(one, regions)
        else:
            one.bad, one.crops = BAD, ()
        self.in_flight.weigh(one)
        expected = []
        while self.taken[one.lane] and self.taken[one.lane][0].complete:
            expected.append(self.taken[one.lane].pop(0))
        assert self.in_flight.finished(one) == expected
        self.answered += expected

    @precondition(lambda self: self.answered)
    @rule(data=st.data(), again=st.booleans())
    def done(self, data: st.DataObject, again: bool) -> None:
        one = data.draw(st.sampled_from(self.answered))
        self.answered.remove(one)
        for _ in range(1 + again):
            self.in_flight.done(one)
            self.in_flight.weigh(one)  # a stage that still has it
        assert self.in_flight.finished(one) == []

    @rule()
    def drop_waiting(self) -> None:
        self.in_flight.drop_waiting()
        self.waiting.clear()

    @rule()
    def clear(self) -> None:
        late = self.held
        self.in_flight.clear()
        self.waiting.clear()
        self.taken.clear()
        self.answered.clear()
        for one in late:
            self.in_flight.done(one)
            assert self.in_flight.finished(one) == []

    @invariant()
    def the_counts_are_true(self) -> None:
        assert len(self.in_flight) == len(self.held)
        assert self.in_flight.waiting == sum(len(works) for works in self.waiting.values())
        assert self.in_flight.taken == len(self.in_flight) - self.in_flight.waiting
        assert self.in_flight.size_bytes == sum(one.size_bytes for one in self.held)
        assert self.in_flight.partitions == {one.partition for one in self.held}

    @invariant()
    def a_partition_that_has_its_share_is_full_and_no_other(self) -> None:
        assigned = {work(0, partition=number).partition for number in range(2)}
        full = self.in_flight.full(assigned)
        if len(self.held) >= MAX_FRAMES or self.in_flight.size_bytes >= MAX_BYTES:
            assert full == assigned
            return
        for partition in assigned:
            own = [one for one in self.held if one.partition == partition]
            share = len(own) >= MAX_FRAMES / 2 or sum(one.size_bytes for one in own) >= MAX_BYTES / 2
            assert (partition in full) == share

    def teardown(self) -> None:
        for one in self.held:
            self.in_flight.done(one)
        assert (len(self.in_flight), self.in_flight.size_bytes, self.in_flight.partitions) == (0, 0, frozenset())


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def filled(*lanes: Hashable) -> InFlight:
    in_flight = InFlight(max_frames=100, max_bytes=10_000)
    for offset, lane in enumerate(lanes):
        in_flight.add(work(offset, lane=lane))
    return in_flight


def test_a_long_backlog_delays_the_other_lanes_by_one_frame_at_most() -> None:
    in_flight = filled(*["backlog"] * 10, "b", "c", "b")
    taken = [one.lane for _ in range(6) if (one := in_flight.take())]
    assert taken == ["backlog", "b", "c", "backlog", "b", "backlog"]


def test_nothing_is_kept_of_lanes_that_are_gone() -> None:
    in_flight = filled(*range(50))
    while one := in_flight.take():
        one.bad = BAD
        in_flight.finished(one)
        in_flight.done(one)
    assert not any(vars(in_flight)[name] for name in ("_lanes", "_turns", "_held", "_sizes"))


def test_of_partitions_that_are_not_assigned_none_is_full() -> None:
    in_flight = InFlight(max_frames=1, max_bytes=1)
    in_flight.add(work(0))
    assert in_flight.full([]) == set()


@pytest.mark.parametrize("ending", ["done", "clear", "drop_waiting"])
async def test_whoever_waits_for_the_last_frame_is_told_when_it_is_gone(ending: str) -> None:
    in_flight = filled("a")
    waiting = asyncio.ensure_future(in_flight.idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    if ending == "done":
        one = in_flight.take()
        assert one
        in_flight.done(one)
    else:
        getattr(in_flight, ending)()
    await asyncio.wait_for(waiting, 5)
