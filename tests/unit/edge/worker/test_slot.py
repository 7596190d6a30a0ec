"""The newest-frame slot: nothing lost without being handed back, nothing out of order, no thread left waiting."""

import asyncio
import threading

import pytest

from edge.worker.slot import NewestFrameSlot, SlotClosedError


@pytest.fixture
async def slot() -> NewestFrameSlot[int]:
    return NewestFrameSlot(asyncio.get_running_loop())


async def take_all(slot: NewestFrameSlot[int]) -> list[int]:
    items = []
    while (item := await slot.take()) is not None:
        items.append(item)
    return items


async def test_what_is_offered_is_taken(slot: NewestFrameSlot[int]) -> None:
    assert slot.offer(1) is None
    assert await slot.take() == 1
    assert slot.offer(2) is None
    assert await slot.take() == 2


async def test_a_full_slot_gives_the_older_item_back(slot: NewestFrameSlot[int]) -> None:
    slot.offer(1)
    assert slot.offer(2) == 1
    assert await slot.take() == 2


async def test_take_waits_for_an_offer_from_another_thread(slot: NewestFrameSlot[int]) -> None:
    waiting = asyncio.create_task(slot.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    threading.Thread(target=slot.offer, args=(7,)).start()
    assert await asyncio.wait_for(waiting, 10) == 7


async def test_closing_lets_out_what_is_inside_and_then_ends(slot: NewestFrameSlot[int]) -> None:
    slot.offer(1)
    slot.close()
    assert await take_all(slot) == [1]
    assert await slot.take() is None


async def test_nothing_goes_into_a_closed_slot(slot: NewestFrameSlot[int]) -> None:
    slot.close()
    with pytest.raises(SlotClosedError):
        slot.offer(1)
    with pytest.raises(SlotClosedError):
        slot.put(1)


async def test_closing_with_an_error_raises_it_after_the_last_item(slot: NewestFrameSlot[int]) -> None:
    slot.offer(1)
    slot.close(LookupError("a fault in the thread"))
    assert await slot.take() == 1
    with pytest.raises(LookupError, match="a fault in the thread"):
        await slot.take()


async def test_closing_twice_keeps_the_first_error(slot: NewestFrameSlot[int]) -> None:
    slot.close(LookupError("first"))
    slot.close()
    with pytest.raises(LookupError, match="first"):
        await slot.take()


async def test_closing_releases_a_thread_that_waits_to_put(slot: NewestFrameSlot[int]) -> None:
    slot.offer(1)
    refused = threading.Event()

    def put() -> None:
        with pytest.raises(SlotClosedError):
            slot.put(2)
        refused.set()

    thread = threading.Thread(target=put)
    thread.start()
    slot.close()
    await asyncio.to_thread(thread.join, 10)
    assert refused.is_set()
    assert await take_all(slot) == [1]


async def test_put_loses_nothing_and_keeps_the_order(slot: NewestFrameSlot[int]) -> None:
    def fill() -> None:
        for item in range(500):
            slot.put(item)
        slot.close()

    threading.Thread(target=fill).start()
    assert await asyncio.wait_for(take_all(slot), 30) == list(range(500))


async def test_every_offered_item_is_either_taken_or_given_back(slot: NewestFrameSlot[int]) -> None:
    given_back: list[int] = []

    def fill() -> None:
        given_back.extend(old for item in range(5_000) if (old := slot.offer(item)) is not None)
        slot.close()

    threading.Thread(target=fill).start()
    taken = await asyncio.wait_for(take_all(slot), 30)
    assert taken == sorted(taken)
    assert sorted(taken + given_back) == list(range(5_000))
    assert taken[-1] == 4_999
