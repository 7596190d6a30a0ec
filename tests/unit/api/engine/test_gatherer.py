"""What many callers want at the same time is run together, and only for those who still want it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from framematch.api.engine.gatherer import Gatherer
from tests.support import eventually

Batch = tuple[str, tuple[int, ...]]


class Doubling:
    """Doubles numbers once `go` is set; `batches` has what was run, `cancelled` what was given up."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.cancelled: list[Batch] = []
        self.go = asyncio.Event()

    async def run(self, key: str, items: Sequence[int]) -> list[int]:
        batch = (key, tuple(items))
        self.batches.append(batch)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(batch)
            raise
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]


Gathering = Gatherer[str, int, int]


@asynccontextmanager
async def serving(work: Doubling, *, max_items: int = 4, at_once: int = 1) -> AsyncIterator[Gathering]:
    gatherer: Gathering = Gatherer(work.run, max_items=max_items, at_once=at_once)
    task = asyncio.ensure_future(gatherer.serve())
    try:
        yield gatherer
    finally:
        task.cancel()
        await asyncio.wait({task})


def submit(gatherer: Gathering, *items: int, key: str = "a") -> asyncio.Task[list[int]]:
    return asyncio.ensure_future(gatherer.submit(key, items))


async def running(work: Doubling, batches: int) -> None:
    await eventually(lambda: len(work.batches) == batches)


async def test_callers_of_one_moment_share_a_batch_and_each_gets_its_own() -> None:
    work = Doubling()
    work.go.set()
    async with serving(work) as gatherer:
        assert await asyncio.gather(*(gatherer.submit("a", [n]) for n in range(3))) == [[0], [2], [4]]
    assert work.batches == [("a", (0, 1, 2))]


async def test_what_comes_while_all_places_are_busy_is_the_next_batch() -> None:
    work = Doubling()
    async with serving(work) as gatherer:
        first = submit(gatherer, 1)
        await running(work, 1)
        others = [submit(gatherer, number) for number in (2, 3)]
        work.go.set()
        assert await first == [2]
        assert [await one for one in others] == [[4], [6]]
    assert work.batches == [("a", (1,)), ("a", (2, 3))]


async def test_a_batch_has_one_key_and_at_most_so_many_items() -> None:
    work = Doubling()
    work.go.set()
    async with serving(work, max_items=2) as gatherer:
        tasks = [submit(gatherer, 1, 2, 3), submit(gatherer, 7, key="b"), submit(gatherer, 4)]
        assert [await one for one in tasks] == [[2, 4, 6], [14], [8]]
    assert sorted(work.batches) == [("a", (1, 2)), ("a", (3, 4)), ("b", (7,))]


async def test_two_batches_run_at_once_where_there_are_two_places() -> None:
    work = Doubling()
    async with serving(work, max_items=1, at_once=2) as gatherer:
        tasks = [submit(gatherer, number) for number in range(3)]
        await running(work, 2)
        work.go.set()
        assert [await one for one in tasks] == [[0], [2], [4]]


async def test_what_nobody_waits_for_any_more_is_not_run() -> None:
    work = Doubling()
    async with serving(work) as gatherer:
        first = submit(gatherer, 1)
        await running(work, 1)
        gone, stays = submit(gatherer, 2), submit(gatherer, 3)
        await asyncio.sleep(0)
        gone.cancel()
        work.go.set()
        assert (await first, await stays) == ([2], [6])
    assert work.batches == [("a", (1,)), ("a", (3,))]


async def test_a_batch_is_given_up_when_its_last_caller_has_gone_and_not_before() -> None:
    work = Doubling()
    async with serving(work) as gatherer:
        callers = [submit(gatherer, number) for number in (1, 2)]
        await running(work, 1)
        callers[0].cancel()
        await asyncio.wait({callers[0]})
        assert work.cancelled == []
        callers[1].cancel()
        await eventually(lambda: work.cancelled == [("a", (1, 2))])
        work.go.set()
        assert await gatherer.submit("a", [3]) == [6]


async def test_an_error_is_the_answer_of_its_batch_alone() -> None:
    work = Doubling()
    work.go.set()
    async with serving(work) as gatherer:
        with pytest.raises(ValueError, match="unlucky"):
            await gatherer.submit("a", [12, 13])
        assert await gatherer.submit("a", [14]) == [28]


@pytest.mark.parametrize("order", [lambda tasks: tasks, reversed])
async def test_an_error_in_one_of_several_batches_of_a_caller_ends_it(
    order: Callable[[list[int]], list[int]],
) -> None:
    work = Doubling()
    work.go.set()
    async with serving(work, max_items=1) as gatherer:
        with pytest.raises(ValueError, match="unlucky"):
            await gatherer.submit("a", list(order([1, 13])))


async def test_callers_do_not_wait_for_ever_when_the_service_ends() -> None:
    work = Doubling()
    async with serving(work) as gatherer:
        waiting = submit(gatherer, 1)
        await running(work, 1)
    await asyncio.wait({waiting})
    assert waiting.cancelled()
