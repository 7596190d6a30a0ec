"""A camera's spool for the event loop: every call on it is made in the one thread for the disk."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from edge.outbox.spool import Kept, Spool, SpoolError
from edge.outbox.way import Entry
from framematch.core.timestamps import now_us

Result = TypeVar("Result")

_US_PER_S = 1_000_000


class Disk:
    """Calls `spool` off the event loop. `on_drop` gets a reason, what it means, and the number of frames lost."""

    def __init__(
        self, spool: Spool, executor: Executor, clock: Callable[[], float], on_drop: Callable[[str, str, int], None]
    ) -> None:
        self.spool = spool
        self._executor = executor
        self._clock = clock
        self._on_drop = on_drop
        self._appending = 0

    @property
    def appending(self) -> bool:
        """Whether a new frame is on its way to the disk."""
        return self._appending > 0

    def holds(self, entry: Entry) -> bool:
        """Whether a frame that is in memory is on disk, too."""
        return entry.kept_in == self.spool.generation

    async def append(self, entry: Entry) -> None:
        """Write a new frame; it is dropped when that fails. Cancelled, it finishes and returns: the frame was taken."""
        self._appending += 1
        kept = [Kept(entry.number, entry.frame, entry.jpeg)]
        future = asyncio.get_running_loop().run_in_executor(self._executor, partial(self.spool.append, kept))
        future.add_done_callback(self._appended)
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if (error := future.exception()) and not isinstance(error, SpoolError):
            raise error

    async def keep(self, entries: Sequence[Entry]) -> list[int]:
        """Write frames that are in memory to disk, too. Returns the numbers of those that were settled meanwhile.

        Raises:
            SpoolError: none was written.
        """
        kept = [Kept(entry.number, entry.frame, entry.jpeg) for entry in entries]
        generation = await self._call(partial(self.spool.append, kept, taken=True))
        for entry in entries:
            entry.kept_in = generation
        return [entry.number for entry in entries if entry.settled]

    async def take(self, frames_max: int, bytes_max: int) -> list[Entry]:
        """The next frames to be replayed; see `Spool.take`."""
        rows = await self._call(partial(self.spool.take, frames_max, bytes_max))
        return [self._replayed(kept) for kept in rows]

    async def untake(self, number: int) -> None:
        """See `Spool.untake`."""
        await self._call(partial(self.spool.untake, number))

    async def done(self, numbers: Sequence[int]) -> None:
        """See `Spool.done`."""
        await self._call(partial(self.spool.done, numbers))

    async def look(self) -> bool:
        """Whether frames wait on disk after all, in a file that could not be read before."""
        try:
            return await self._call(self.spool.look)
        except SpoolError:
            return False

    async def expire(self) -> None:
        """See `Spool.expire`."""
        await self._call(self.spool.expire)

    async def give_up(self) -> None:
        """See `Spool.give_up`."""
        await self._call(self.spool.give_up)

    async def close(self) -> int:
        """See `Spool.close`."""
        return await self._call(self.spool.close)

    def _replayed(self, kept: Kept) -> Entry:
        frame = replace(kept.frame, replayed=True)
        age_s = (now_us() - (frame.grabbed_at_us or frame.captured_at_us)) / _US_PER_S
        grabbed_s = self._clock() - max(0.0, age_s)
        return Entry(kept.number, frame, kept.jpeg, grabbed_s, None, kept_in=self.spool.generation, replay=True)

    def _appended(self, done: asyncio.Future[int]) -> None:
        self._appending -= 1
        self._count_losses()
        error = done.exception()
        if isinstance(error, SpoolError):
            self._on_drop(error.reason, str(error), 1)

    async def _call(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._count_losses()

    def _count_losses(self) -> None:
        while self.spool.losses:
            reason, count = self.spool.losses.popleft()
            self._on_drop(reason, "edge.spool.max_mb and max_age_s say how much is kept", count)
