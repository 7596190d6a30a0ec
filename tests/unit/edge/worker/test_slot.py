"""The newest-frame slot: nothing is lost unless it is returned, all is in order, and no thread waits for ever."""

import os
import select
import threading

import pytest

from edge.worker.slot import NewestFrameSlot, SlotShutDownError


def readable(slot: NewestFrameSlot[int], *, within_ms: int = 0) -> bool:
    poll = select.poll()
    poll.register(slot, select.POLLIN)
    return bool(poll.poll(within_ms))


def take_all(slot: NewestFrameSlot[int]) -> list[int]:
    items: list[int] = []
    while not slot.drained:
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


def test_offering_to_a_full_slot_returns_the_older_item() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    assert slot.offer(2) == 1
    assert slot.take() == 2


def test_it_is_readable_while_an_item_is_inside() -> None:
    slot = NewestFrameSlot[int]()
    assert not readable(slot)
    slot.offer(1)
    slot.offer(2)
    assert readable(slot)
    slot.take()
    assert not readable(slot)


def test_it_stays_readable_once_it_is_shut_down() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    slot.shut_down()
    assert readable(slot)
    slot.take()
    assert readable(slot)
    assert slot.take() is None
    assert readable(slot)


def test_the_last_item_can_be_taken_after_the_shutdown_and_then_it_is_drained() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    slot.shut_down()
    slot.shut_down()
    assert not slot.drained
    assert take_all(slot) == [1]
    assert slot.drained


def test_nothing_goes_in_after_the_shutdown() -> None:
    slot = NewestFrameSlot[int]()
    slot.shut_down()
    with pytest.raises(SlotShutDownError):
        slot.offer(1)
    with pytest.raises(SlotShutDownError):
        slot.put(1)


def test_the_shutdown_releases_a_thread_that_waits_to_put() -> None:
    slot = NewestFrameSlot[int]()
    slot.offer(1)
    refused = threading.Event()

    def put() -> None:
        with pytest.raises(SlotShutDownError):
            slot.put(2)
        refused.set()

    thread = threading.Thread(target=put)
    thread.start()
    slot.shut_down()
    thread.join(10)
    assert refused.is_set()
    assert take_all(slot) == [1]


def test_put_loses_nothing_and_keeps_the_order() -> None:
    slot = NewestFrameSlot[int]()

    def fill() -> None:
        for item in range(500):
            slot.put(item)
        slot.shut_down()

    thread = threading.Thread(target=fill)
    thread.start()
    assert take_all(slot) == list(range(500))
    thread.join(10)


def test_every_offered_item_is_either_taken_or_returned() -> None:
    slot = NewestFrameSlot[int]()
    returned: list[int] = []

    def fill() -> None:
        returned.extend(old for item in range(5_000) if (old := slot.offer(item)) is not None)
        slot.shut_down()

    thread = threading.Thread(target=fill)
    thread.start()
    taken = take_all(slot)
    thread.join(10)
    assert taken == sorted(taken)
    assert sorted(taken + returned) == list(range(5_000))
    assert taken[-1] == 4_999


def test_closing_twice_closes_the_descriptor_once() -> None:
    slot = NewestFrameSlot[int]()
    descriptor = slot.fileno()
    slot.close()
    slot.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(SlotShutDownError):
        slot.put(1)
