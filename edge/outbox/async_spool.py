"""A camera's spool for the event loop: every call on it runs in the one thread for disks."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from edge.outbox.pending import PendingFrame, Window
from edge.outbox.spool import Spool
from edge.outbox.spool_file import SpooledFrame, SpoolError
from framematch.core.timestamps import now_us
from framematch.core.units import US_PER_S

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class _Change:
    """What one call on the spool did to the number of waiting frames, and to the bytes on disk."""

    waiting: int
    size_bytes: int
    found: int
    losses: tuple[tuple[str, int], ...]


class AsyncSpool:
    """Runs calls on `spool`, with its errors. `on_drop` gets a reason, its explanation and a number of frames.

    `waiting` and `bytes` are the spool's, as the event loop knows them: they change in the same step in which losses
    are reported to `on_drop`, and frames of an earlier run to `on_found`.
    """

    def __init__(
        self,
        spool: Spool,
        executor: Executor,
        clock: Callable[[], float],
        on_drop: Callable[[str, str, int], None],
        on_found: Callable[[int], None],
    ) -> None:
        self.spool = spool
        self.waiting = self.bytes = 0
        self._executor = executor
        self._clock = clock
        self._on_drop = on_drop
        self._on_found = on_found
        self._changes: deque[_Change] = deque()  # appended by the thread
        self.appending = 0  # new frames that are being written
        self._acknowledged: list[int] = []

    def has(self, frame: PendingFrame) -> bool:
        """Whether a frame in memory is on disk too."""
        return frame.spool_generation == self.spool.generation

    async def run(self, method: Callable[Concatenate[Spool, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the spool."""
        call = self._recorded(partial(method, self.spool, *args, **kwargs))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        finally:
            self._apply_changes()

    async def append(self, frame: PendingFrame) -> None:
        """Write a new frame; it is dropped when that fails. A cancellation waits for the caller's next `await`."""
        self.appending += 1
        try:
            await asyncio.sleep(0)  # a caller that has been cancelled stops here
            loop = asyncio.get_running_loop()
            row = SpooledFrame(frame.number, frame.frame, frame.jpeg)
            written = loop.run_in_executor(self._executor, self._recorded(partial(self.spool.append, [row])))
            await _finish(written)
        finally:
            self.appending -= 1
            self._apply_changes()
        try:
            written.result()
        except SpoolError as error:
            self._on_drop(error.reason, str(error), 1)

    async def copy(self, frames: Sequence[PendingFrame]) -> None:
        """Write frames that are in memory to disk too, all or none."""
        rows = [SpooledFrame(frame.number, frame.frame, frame.jpeg) for frame in frames]
        generation = await self.run(Spool.append, rows, leased=True)
        for frame in frames:
            frame.spool_generation = generation
            if frame.settled:  # meanwhile
                self.ack(frame)

    async def lease(self, window: Window, frames_max: int, bytes_max: int) -> list[PendingFrame]:
        """The next frames to replay, to be counted against `window`. Also deletes acknowledged frames."""
        numbers = tuple(self._acknowledged)
        spooled = await self.run(Spool.lease, frames_max, bytes_max, numbers)
        del self._acknowledged[: len(numbers)]  # not earlier: a cancelled lease is repeated
        now_s, wall_us, generation = self._clock(), now_us(), self.spool.generation
        frames = []
        for number, frame, jpeg in spooled:
            grabbed_s = now_s - max(0, wall_us - frame.arrived_at_us) / US_PER_S
            frames.append(PendingFrame(number, window, frame, jpeg, grabbed_s, None, spool_generation=generation))
        return frames

    def ack(self, frame: PendingFrame) -> None:
        """A frame is settled: the next `lease` or `flush` deletes it, if it is on disk."""
        if frame.spool_generation:
            self._acknowledged.append(frame.number)

    async def flush(self) -> None:
        """Delete acknowledged frames."""
        if self._acknowledged:
            numbers = tuple(self._acknowledged)
            await self.run(Spool.ack, numbers)
            del self._acknowledged[: len(numbers)]

    async def close(self) -> int:
        """Close the file. Returns the number of frames that stay in it, leased ones too."""
        self.waiting = await self.run(Spool.close)
        return self.waiting

    def _recorded(self, call: Callable[[], T]) -> Callable[[], T]:
        """The same call, for the thread; it also records what the call changed."""
        spool = self.spool

        def recorded() -> T:
            waiting, size_bytes, found = spool.waiting, spool.bytes, spool.found
            try:
                return call()
            finally:
                losses = tuple(spool.losses)
                spool.losses.clear()
                change = _Change(spool.waiting - waiting, spool.bytes - size_bytes, spool.found - found, losses)
                self._changes.append(change)

        return recorded

    def _apply_changes(self) -> None:
        while self._changes:
            change = self._changes.popleft()
            self.waiting += change.waiting
            self.bytes += change.size_bytes
            if change.found:
                self._on_found(change.found)
            for reason, count in change.losses:
                self._on_drop(reason, "edge.spool.max_mb and max_age_s limit what is kept", count)


async def _finish(running: asyncio.Future[T]) -> None:
    """Wait until `running` is done. If the task is cancelled meanwhile, that takes effect at its next `await`."""
    cancellations = 0
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            cancellations += 1
    if task := asyncio.current_task():
        for _ in range(cancellations):
            task.uncancel()  # `cancel` counts it again
            asyncio.get_running_loop().call_soon(task.cancel)
