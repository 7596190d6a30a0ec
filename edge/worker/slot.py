"""The newest-frame slot: hands frames from the capture thread to the thread that encodes them, one at a time."""

import os
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SlotClosedError(Exception):
    """Nothing more can be put in: the worker is stopping."""


class NewestFrameSlot(Generic[Item]):
    """Room for one item between one thread that fills it and one that takes from it.

    Guarantees: items come out in the order in which they went in; an item goes out once, or is handed back by the
    `offer` that displaced it, or is still inside when `close` is called and goes out then. `offer` never waits, and
    neither does `take`: `fileno` can be polled and is readable while an item is inside, and once the slot is closed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._item: Item | None = None
        self._closed = False

    def fileno(self) -> int:
        """The descriptor to poll; it lasts as long as the slot."""
        return self._signal

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

    def take(self) -> Item | None:
        """The item, or None when there is none at the moment. For the taking thread."""
        with self._changed:
            item, self._item = self._item, None
            if item is not None:
                if not self._closed:
                    os.eventfd_read(self._signal)
                self._changed.notify_all()
            return item

    def close(self) -> None:
        """Nothing goes in any more. From any thread, also twice."""
        with self._changed:
            self._closed = True
            os.eventfd_write(self._signal, 1)
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether it is closed and empty: nothing will ever come."""
        with self._changed:
            return self._closed and self._item is None

    def __del__(self) -> None:
        os.close(self._signal)

    def _fill(self, item: Item) -> Item | None:
        if self._closed:
            raise SlotClosedError
        displaced, self._item = self._item, item
        os.eventfd_write(self._signal, 1)
        return displaced
