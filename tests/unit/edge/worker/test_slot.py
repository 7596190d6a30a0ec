"""The newest-frame slot: nothing lost without being handed back, nothing out of order, no thread left waiting."""

import select
import threading

import pytest

from edge.worker.slot import NewestFrameSlot, SlotClosedError


def readable(slot: NewestFrameSlot[int], *, within_ms: int = 0) -> bool:
    poll = select.poll()
    poll.register(slot, select.POLLIN)
    return bool(poll.poll(within_ms))


def take_all(slot: NewestFrameSlot[int]) -> list[int]:
    items: list[int] = []
    while not slot.finished:
        assert readable(slot, within_ms=30_000)
        if (item := slot.take()) is not None:
            items.append(item)
    return items


def test_what_is_offered_is_taken() -> None:
    slot = NewestFrameSlot[int]()
    assert slot.offer(1) is None
    assert slot.take() == 1
    assert slot.offer(2) is None
    assert slot.take() == 2
    assert slot.take() is None


def test_a_full_slot_gives_the_older_item_back() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    assert slot.offer(2) == 1
    assert slot.take() == 2


def test_it_can_be_polled_while_something_is_inside() -> None:
    slot = NewestFrameSlot[int]()
    assert not readable(slot)
    slot.offer(1)
    slot.offer(2)
    assert readable(slot)
    slot.take()
    assert not readable(slot)


def test_it_can_be_polled_for_ever_once_it_is_closed() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    slot.close()
    assert readable(slot)
    slot.take()
    assert readable(slot)
    assert slot.take() is None
    assert readable(slot)


def test_closing_lets_out_what_is_inside_and_then_it_is_finished() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    slot.close()
    slot.close()
    assert not slot.finished
    assert take_all(slot) == [1]
    assert slot.finished


def test_nothing_goes_into_a_closed_slot() -> None:
    slot = NewestFrameSlot[int]()
    slot.close()
    with pytest.raises(SlotClosedError):
        slot.offer(1)
    with pytest.raises(SlotClosedError):
        slot.put(1)


def test_closing_releases_a_thread_that_waits_to_put() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    refused = threading.Event()

    def put() -> None:
        with pytest.raises(SlotClosedError):
            slot.put(2)
        refused.set()

    thread = threading.Thread(target=put)
    thread.start()
    slot.close()
    thread.join(10)
    assert refused.is_set()
    assert take_all(slot) == [1]


def test_put_loses_nothing_and_keeps_the_order() -> None:
    slot = NewestFrameSlot[int]()

    def fill() -> None:
        for item in range(500):
            slot.put(item)
        slot.close()

    thread = threading.Thread(target=fill)
    thread.start()
    assert take_all(slot) == list(range(500))
    thread.join(10)


def test_every_offered_item_is_either_taken_or_given_back() -> None:
    slot = NewestFrameSlot[int]()
    given_back: list[int] = []

    def fill() -> None:
        given_back.extend(old for item in range(5_000) if (old := slot.offer(item)) is not None)
        slot.close()

    thread = threading.Thread(target=fill)
    thread.start()
    taken = take_all(slot)
    thread.join(10)
    assert taken == sorted(taken)
    assert sorted(taken + given_back) == list(range(5_000))
    assert taken[-1] == 4_999
