"""Keeps what served snapshots are made of until no frame needs it, and frees it in a thread."""

import asyncio
import weakref
from dataclasses import dataclass

from framematch.matching.matcher import Matcher
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.encoder import ImageEncoder


@dataclass(frozen=True, eq=False)
class _Held:
    served: weakref.ref[ServedSnapshot]
    matcher: Matcher
    encoder: ImageEncoder


class HeldSnapshots:
    """The index and encoder of each served snapshot that something still refers to, such as a frame in flight.

    To unmap a large index takes tens of milliseconds. So the last reference to it is here, and never where the last
    frame ends: that is the event loop, which would stop for so long.
    """

    def __init__(self) -> None:
        self._held: list[_Held] = []

    def add(self, served: ServedSnapshot) -> None:
        """Hold what `served` is made of for as long as something else refers to `served`."""
        self._held.append(_Held(weakref.ref(served), served.matcher, served.encoder))

    @property
    def encoders(self) -> list[ImageEncoder]:
        """The encoders that are held."""
        return [held.encoder for held in self._held]

    def __len__(self) -> int:
        return len(self._held)

    async def free_unused(self) -> None:
        """Free what nothing refers to any more, in a thread."""
        unused = [held for held in self._held if held.served() is None]
        if unused:
            self._held = [held for held in self._held if held not in unused]
            # The list is emptied in the thread, so that the last references end there.
            await asyncio.to_thread(unused.clear)
