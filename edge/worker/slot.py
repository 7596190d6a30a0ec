"""The newest-frame slot: passes frames from the capture thread to the thread that encodes them, one at a time."""

import os
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SlotShutDownError(Exception):
    """Nothing more can be put in: the worker is stopping."""


class NewestFrameSlot(Generic[Item]):
    """Holds one item between one thread that fills the slot and one that takes from it.

    Guarantees: items come out in the order in which they went in. Each item is taken once, or is returned by the
    `offer` that displaced it; an item that is inside when `shut_down` is called can still be taken. `offer` and `take`
    never wait: poll `fileno`, which is readable while an item is inside, and once the slot is shut down.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._item: Item | None = None
        self._shut_down = False

    def fileno(self) -> int:
        """The descriptor to poll, valid until `close`."""
        return self._event

    def offer(self, item: Item) -> Item | None:
        """Put `item` in and return the older one that it displaced, if there was one. For the filling thread.

        Raises:
            SlotShutDownError: `item` was not put in.
        """
        with self._changed:
            return self._fill(item)

    def put(self, item: Item) -> None:
        """Wait until the slot is empty and put `item` in. For the filling thread.

        Raises:
            SlotShutDownError: `item` was not put in.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._shut_down or self._item is None)
            self._fill(item)

    def take(self) -> Item | None:
        """The item, or None when the slot is empty. For the taking thread."""
        with self._changed:
            item, self._item = self._item, None
            if item is not None:
                if not self._shut_down:
                    os.eventfd_read(self._event)
                self._changed.notify_all()
            return item

    def shut_down(self) -> None:
        """Refuse further items. From any thread, also twice."""
        with self._changed:
            if not self._shut_down:
                self._shut_down = True
                os.eventfd_write(self._event, 1)
                self._changed.notify_all()

    @property
    def drained(self) -> bool:
        """Whether it is shut down and empty: there will be no more items."""
        with self._changed:
            return self._shut_down and self._item is None

    def close(self) -> None:
        """Shut down and close the descriptor, when no thread polls it any more; may be called twice."""
        self.shut_down()
        if self._event >= 0:
            os.close(self._event)
        self._event = -1

    def _fill(self, item: Item) -> Item | None:
        if self._shut_down:
            raise SlotShutDownError
        displaced, self._item = self._item, item
        os.eventfd_write(self._event, 1)
        return displaced
