"""The ring: bounded, and a client finds its place in it from any positions."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from framematch.api.stream.events import Gap, Reset
from framematch.api.stream.positions import Positions
from framematch.api.stream.ring import Ring
from tests.unit.api.stream.stream_items import event, positions

PLACES = st.lists(st.integers(0, 2), max_size=60)


def filled(places: list[int], max_bytes: int = 1_000_000) -> Ring:
    """A ring of events that came from these partitions, one after the other."""
    ring = Ring(max_bytes)
    ring.start(positions(0, 0, 0))
    for partition in places:
        ring.append(event(partition, ring.positions.offset(0, partition)))
    return ring


def offsets(ring: Ring, number: int) -> list[tuple[int, int]]:
    found = ring.entries(number)
    assert found is not None
    return [(one.item.partition, one.item.offset) for one in found]  # type: ignore[union-attr]  # events alone


@settings(max_examples=40)
@given(PLACES, st.integers(4_000, 20_000))
def test_the_memory_is_bounded_and_the_newest_entries_stay(places: list[int], max_bytes: int) -> None:
    ring = filled(places, max_bytes)
    whole = filled(places)
    kept = offsets(ring, ring.end - len(list(ring.entries(ring.first) or ())))
    assert ring.size_bytes <= max_bytes
    assert kept == offsets(whole, 0)[len(places) - len(kept) :]


@settings(max_examples=40)
@given(PLACES, st.tuples(*[st.integers(0, 25)] * 3))
def test_from_its_place_on_a_client_finds_every_event_that_it_does_not_have(
    places: list[int], has: tuple[int, int, int]
) -> None:
    ring = filled(places)
    number = ring.find(positions(*has))
    assert number is not None
    missing = [(partition, offset) for partition, offset in offsets(ring, 0) if offset >= has[partition]]
    assert [one for one in offsets(ring, number) if one[1] >= has[one[0]]] == missing


@settings(max_examples=40)
@given(PLACES)
def test_the_id_of_each_entry_is_the_place_of_the_next_one(places: list[int]) -> None:
    ring = filled(places)
    for number, entry in enumerate(ring.entries(0) or ()):
        assert ring.find(Positions.decode(entry.id)) == number + 1


@settings(max_examples=40)
@given(PLACES, st.integers(3_000, 30_000))
def test_a_client_that_needs_more_than_the_ring_has_finds_no_place(places: list[int], max_bytes: int) -> None:
    ring = filled(places, max_bytes)
    oldest = ring.oldest()
    assert ring.find(oldest) is not None
    for partition in range(3):
        offset = oldest.offset(0, partition)
        if offset:
            before = oldest.copy()
            before.move(0, partition, offset - 1)
            assert ring.find(before) is None


def test_entries_that_are_gone_are_not_given() -> None:
    ring = filled([0] * 20, 10_000)
    assert ring.first > 0
    assert ring.entries(ring.first - 1) is None


def test_after_a_reset_only_positions_of_the_new_topic_have_a_place() -> None:
    ring = filled([0, 0, 1])
    ring.append(Reset(0, b"new!", {0: 0, 1: 0, 2: 0}, "topic_recreated"))
    ring.append(event(0, 0))
    former = positions(1, 0, 0)
    former.tags[0] = b"old!"
    assert ring.find(former) is None
    new = positions(0, 0, 0)
    new.tags[0] = b"new!"
    assert offsets(ring, ring.find(new) or 0) == [(0, 0)]


def test_a_partition_that_begins_anew_after_a_truncation_moves_back() -> None:
    ring = filled([0] * 5)
    ring.append(Reset(0, ring.positions.tags[0], {0: 2}, "partition_truncated"))
    assert ring.positions.offset(0, 0) == 2
    assert ring.oldest().offset(0, 0) == 2


def test_a_gap_moves_the_position_behind_it() -> None:
    ring = filled([0, 1])
    ring.append(Gap(0, 0, 1, 9, "retention"))
    assert ring.positions.offset(0, 0) == 9


async def test_all_who_wait_are_woken_at_once() -> None:
    ring = filled([])
    waiting = [asyncio.ensure_future(ring.changed()) for _ in range(3)]
    await asyncio.sleep(0)
    ring.publish()
    await asyncio.gather(*waiting)
