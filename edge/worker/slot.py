"""The newest-frame slot: hands frames from a capture thread to the event loop, one at a time."""

import asyncio
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SlotClosedError(Exception):
    """Nothing more can be put in: the service is stopping."""


class NewestFrameSlot(Generic[Item]):
    """Room for one item between one thread that fills it and one task that takes from it.

    Guarantees: items come out in the order in which they went in; an item goes out once, or is handed back by the
    `offer` that displaced it, or is still inside when `close` is called and goes out then. `offer` never waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = threading.Condition()
        self._wake = asyncio.Event()
        self._item: Item | None = None
        self._closed = False
        self._error: BaseException | None = None

    def offer(self, item: Item) -> Item | None:
        """Put `item` in and return the older one that it displaced, if there was one. For the filling thread.

        Raises:
            SlotClosedError: `item` was not put in.
        """
        with self._changed:
            return self._fill(item)

    def put(self, item: Item) -> None:
        """Wait until the slot is empty and put `item` in. For the filling thread.

        Raises:
            SlotClosedError: `item` was not put in.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is None)
            self._fill(item)

    def close(self, error: BaseException | None = None) -> None:
        """Nothing goes in any more; `take` raises `error` at the end, if one is given. From any thread, also twice."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._error = error
            self._changed.notify_all()
            self._loop.call_soon_threadsafe(self._wake.set)

    async def take(self) -> Item | None:
        """The next item, or None when the slot is closed and empty."""
        while True:
            await self._wake.wait()
            with self._changed:
                item, self._item = self._item, None
                if not self._closed:
                    self._wake.clear()
                self._changed.notify_all()
                if item is None and self._error is not None:
                    raise self._error
                if item is not None or self._closed:
                    return item

    def _fill(self, item: Item) -> Item | None:
        if self._closed:
            raise SlotClosedError
        displaced, self._item = self._item, item
        self._loop.call_soon_threadsafe(self._wake.set)
        return displaced
