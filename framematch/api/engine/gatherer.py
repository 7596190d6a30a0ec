"""Gathers what many callers want at the same time, and runs it together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from framematch.core.lifecycle import first_of

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Waiting(Generic[Key, Item, Result]):
    key: Key
    item: Item
    result: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Gatherer(Generic[Key, Item, Result]):
    """Runs items in batches of up to `max_items` with equal keys, up to `at_once` batches at a time.

    Nothing waits for a batch to fill: an item that comes while a place is free is run at once, and what comes while
    all are busy is the next batch. So a batch is as large as the load makes it, and one caller alone waits for nobody.

    An item whose caller has gone is not run. A batch whose callers have all gone is cancelled.
    """

    def __init__(
        self,
        run: Callable[[Key, Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        max_items: int,
        at_once: int,
    ) -> None:
        self._run = run
        self._max_items = max_items
        self._at_once = at_once
        self._waiting: deque[_Waiting[Key, Item, Result]] = deque()
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many items wait for a batch, those included whose caller has gone."""
        return len(self._waiting)

    async def submit(self, key: Key, items: Sequence[Item]) -> list[Result]:
        """The result of each item; raises what the run of a batch raises."""
        waiting: list[_Waiting[Key, Item, Result]] = [_Waiting(key, item) for item in items]
        self._waiting.extend(waiting)
        self._news.set()
        try:
            return [await one.result for one in waiting]
        finally:
            for one in waiting:
                if not one.result.cancel() and not one.result.cancelled():
                    one.result.exception()  # so that nobody misses it

    async def serve(self) -> None:
        """Run batches until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._serve_one())

    async def _serve_one(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(0)  # what others submit in this turn of the event loop comes along
            if batch := self._take():
                await self._answer(batch)

    def _take(self) -> list[_Waiting[Key, Item, Result]]:
        """The oldest item that is still wanted, and others with its key."""
        batch: list[_Waiting[Key, Item, Result]] = []
        later: list[_Waiting[Key, Item, Result]] = []
        while self._waiting and len(batch) < self._max_items:
            one = self._waiting.popleft()
            if one.result.done():  # cancelled: its caller has gone
                continue
            (batch if not batch or one.key == batch[0].key else later).append(one)
        self._waiting.extendleft(reversed(later))
        if not self._waiting:
            self._news.clear()
        return batch

    async def _answer(self, batch: Sequence[_Waiting[Key, Item, Result]]) -> None:
        try:
            await first_of(self._run_batch(batch), _all_done(batch))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the callers' answer, and not the end of all
            for one in batch:
                if not one.result.done():
                    one.result.set_exception(error)
        finally:
            for one in batch:
                one.result.cancel()

    async def _run_batch(self, batch: Sequence[_Waiting[Key, Item, Result]]) -> None:
        results = await self._run(batch[0].key, [one.item for one in batch])
        for one, result in zip(batch, results, strict=True):
            if not one.result.done():
                one.result.set_result(result)


async def _all_done(batch: Sequence[_Waiting[Key, Item, Result]]) -> None:
    """Return when no caller waits any more."""
    await asyncio.wait([one.result for one in batch])
