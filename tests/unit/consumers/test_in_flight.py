"""Frames in flight: each is returned once, ordering keys take turns and keep their order, and all counts are right."""

import asyncio
from collections import defaultdict
from collections.abc import Hashable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumers.in_flight import InFlight
from consumers.in_flight_frame import InFlightFrame
from tests.unit.consumers.sample_frames import TRUNCATED, fetched, prepare

MAX_FRAMES, MAX_BYTES = 12, 400
KEYS = st.integers(0, 3)


class AnyUse(RuleBasedStateMachine):
    """Any interleaving of what the stages do, beside a model of plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = InFlight(max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)
        self.offset = 0
        self.waiting: dict[Hashable, list[InFlightFrame]] = defaultdict(list)
        self.active: dict[Hashable, list[InFlightFrame]] = defaultdict(list)
        self.ready: list[InFlightFrame] = []  # not acknowledged yet
        self.overtook: dict[Hashable, set[Hashable]] = {}  # for each waiting key: which keys had a turn meanwhile

    @property
    def all_frames(self) -> list[InFlightFrame]:
        queues = [*self.waiting.values(), *self.active.values()]
        return [*(one for frames in queues for one in frames), *self.ready]

    @rule(key=KEYS, size=st.integers(0, 60))
    def add(self, key: int, size: int) -> None:
        one = fetched(self.offset, partition=key % 2, key=key, value=bytes(size))
        self.offset += 1
        self.in_flight.add(one)
        if not self.waiting[key]:
            self.overtook[key] = set()
        self.waiting[key].append(one)

    @rule()
    def pop_next(self) -> None:
        one = self.in_flight.pop_next()
        if one is None:
            assert not any(self.waiting.values())
            return
        assert one is self.waiting[one.ordering_key].pop(0)
        self.active[one.ordering_key].append(one)
        self.overtook[one.ordering_key] = set()
        for key, frames in self.waiting.items():
            if frames and key != one.ordering_key:
                assert one.ordering_key not in self.overtook[key]
                self.overtook[key].add(one.ordering_key)

    @precondition(lambda self: any(self.active.values()))
    @rule(data=st.data(), regions=st.integers(0, 3))
    def complete(self, data: st.DataObject, regions: int) -> None:
        """A frame that a stage works on is decoded, or is rejected."""
        one = data.draw(st.sampled_from([one for frames in self.active.values() for one in frames]))
        if regions:
            prepare(one, regions)
        else:
            one.outcome, one.crops = TRUNCATED, ()
        self.in_flight.update_size(one)
        expected = []
        while self.active[one.ordering_key] and self.active[one.ordering_key][0].complete:
            expected.append(self.active[one.ordering_key].pop(0))
        assert self.in_flight.pop_ready(one.ordering_key) == expected
        self.ready += expected

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), again=st.booleans())
    def remove(self, data: st.DataObject, again: bool) -> None:
        one = data.draw(st.sampled_from(self.ready))
        self.ready.remove(one)
        for _ in range(1 + again):
            self.in_flight.remove(one)
            self.in_flight.update_size(one)  # by a stage that still works on it
        assert self.in_flight.pop_ready(one.ordering_key) == []

    @rule()
    def drop_waiting(self) -> None:
        self.in_flight.drop_waiting()
        self.waiting.clear()

    @invariant()
    def the_counts_are_right(self) -> None:
        assert len(self.in_flight) == len(self.all_frames)
        assert self.in_flight.waiting == sum(len(frames) for frames in self.waiting.values())
        assert self.in_flight.active == len(self.in_flight) - self.in_flight.waiting
        assert self.in_flight.size_bytes == sum(one.size_bytes for one in self.all_frames)
        assert self.in_flight.partitions == {one.partition for one in self.all_frames}

    @invariant()
    def only_a_partition_with_its_share_is_full(self) -> None:
        assigned = {fetched(0, partition=number).partition for number in range(2)}
        full = self.in_flight.full(assigned)
        if len(self.all_frames) >= MAX_FRAMES or self.in_flight.size_bytes >= MAX_BYTES:
            assert full == assigned
            return
        for partition in assigned:
            own = [one for one in self.all_frames if one.partition == partition]
            share = len(own) >= MAX_FRAMES / 2 or sum(one.size_bytes for one in own) >= MAX_BYTES / 2
            assert (partition in full) == share

    def teardown(self) -> None:
        for one in self.all_frames:
            self.in_flight.remove(one)
        assert (len(self.in_flight), self.in_flight.size_bytes, self.in_flight.partitions) == (0, 0, frozenset())


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def filled(*keys: Hashable) -> InFlight:
    in_flight = InFlight(max_frames=100, max_bytes=10_000)
    for offset, key in enumerate(keys):
        in_flight.add(fetched(offset, key=key))
    return in_flight


def test_a_long_backlog_delays_the_other_keys_by_one_frame_at_most() -> None:
    in_flight = filled(*["backlog"] * 10, "b", "c", "b")
    popped = [one.ordering_key for _ in range(6) if (one := in_flight.pop_next())]
    assert popped == ["backlog", "b", "c", "backlog", "b", "backlog"]


def test_nothing_is_kept_of_keys_without_frames() -> None:
    in_flight = filled(*range(50))
    while one := in_flight.pop_next():
        one.outcome = TRUNCATED
        in_flight.pop_ready(one.ordering_key)
        in_flight.remove(one)
    assert not any(vars(in_flight)[name] for name in ("_queues", "_turns", "_usage", "_sizes"))


def test_partitions_that_are_not_assigned_are_never_full() -> None:
    in_flight = InFlight(max_frames=1, max_bytes=1)
    in_flight.add(fetched(0))
    assert in_flight.full([]) == set()


@pytest.mark.parametrize("ending", ["remove", "drop_waiting"])
async def test_idle_returns_when_the_last_frame_is_gone(ending: str) -> None:
    in_flight = filled("a")
    waiting = asyncio.ensure_future(in_flight.idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    if ending == "remove":
        one = in_flight.pop_next()
        assert one
        in_flight.remove(one)
    else:
        in_flight.drop_waiting()
    await asyncio.wait_for(waiting, 5)
