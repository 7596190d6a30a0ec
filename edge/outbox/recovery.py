"""Brings an outbox that is spooling back to DIRECT: sends failed frames again, and replays the spool in order."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from edge.outbox.outbox import Outbox, State
from edge.outbox.pending import PendingFrame
from edge.outbox.spool import Spool
from edge.outbox.spool_file import SpoolError
from framematch.core.backoff import Backoff

log = structlog.get_logger()

_CHUNK_MAX_FRAMES = 32
_CHUNK_MAX_BYTES = 2_000_000
_MAX_FAILED_READS = 5


class Recovery:
    """Recovers one outbox, whenever that is necessary."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._context = outbox.context
        self._pending = outbox.pending
        self._spool = outbox.spool
        self._failed_reads = 0

    async def run(self) -> None:
        """Recover the outbox each time that it starts to spool; endless."""
        while True:
            await self._outbox.entered(State.SPOOLING)
            backoff = self._context.backoff()
            while self._outbox.state is State.SPOOLING:
                await self._attempt(backoff)
            await self._remove_file()

    async def _attempt(self, backoff: Backoff) -> None:
        """Send all that waits, up to the first frame that fails. DIRECT again when nothing is left."""
        await self._outbox.spool_pending()
        await self._pending.none_in_flight()
        await self._leave_to_spool()
        await self._context.producer.wait_connected()
        try:
            sent = await (self._retry() if self._pending.to_retry else self._replay())
        except SpoolError as error:
            await self._pending.none_in_flight()
            await self._on_unreadable(error)
            await asyncio.sleep(backoff.next_delay_s())
            return
        self._failed_reads = 0
        await self._pending.none_in_flight()
        if self._pending.to_retry:
            frames = len(self._pending.to_retry)
            log.warning("frames_retrying", camera=self._outbox.camera, frames=frames, error=self._outbox.last_error)
            await asyncio.sleep(backoff.next_delay_s())
        elif sent or self._outbox.spooled_frames or (self._spool and self._spool.appending):
            backoff.reset()
        else:
            self._outbox.stop_spooling()

    async def _remove_file(self) -> None:
        """Remove the empty file, unless frames are spooled again soon."""
        if self._spool is None:
            return
        try:
            async with asyncio.timeout(self._context.keep_file_s):
                await self._outbox.entered(State.SPOOLING)
        except TimeoutError:
            await self._spool.run(Spool.remove_if_empty)

    async def _leave_to_spool(self) -> None:
        """Delete acknowledged frames from the spool, and free failed frames that it has. Rejected ones stay."""
        if self._spool is None:
            return
        await self._spool.flush()
        failed = self._pending.to_retry
        if failed and all(self._spool.has(frame) and not frame.rejections for frame in failed):
            with suppress(SpoolError):  # then they stay in memory
                await self._spool.run(Spool.release, min(frame.number for frame in failed))
                self._pending.leave_to_spool()

    async def _retry(self) -> bool:
        """Send failed frames again, in order."""
        frames = sorted(self._pending.to_retry, key=lambda frame: frame.number)
        self._pending.to_retry.clear()
        await self._send(frames)
        return True

    async def _replay(self) -> bool:
        """Send spooled frames until none is left or one fails. Returns whether there were any."""
        sent = False
        while not self._pending.to_retry and (frames := await self._lease()):
            sent = True
            await self._send(frames)
        return sent

    async def _lease(self) -> list[PendingFrame]:
        """The next frames from the spool, once the window has space for them. None after a failure."""
        if self._spool is None:
            return []
        window, reading = self._context.replay_window, self._context.read_window
        frames_max = min(_CHUNK_MAX_FRAMES, reading.frames_max)
        bytes_max = min(_CHUNK_MAX_BYTES, reading.bytes_max)
        while not reading.try_take(frames_max, bytes_max):
            if self._pending.to_retry:
                return []
            await reading.changed()
        try:
            frames = await self._spool.lease(window, frames_max, bytes_max)
        finally:
            reading.release(frames_max, bytes_max)
        window.add(len(frames), sum(len(frame.jpeg) for frame in frames))
        await asyncio.sleep(0)  # another outbox reads while these are sent
        return frames

    async def _send(self, frames: Sequence[PendingFrame]) -> None:
        """Send in order until one fails: it and those behind it are to be retried. Rejected frames go isolated."""
        pending = self._pending
        pending.unsent.extend(frames)
        try:
            while pending.unsent and not pending.to_retry:
                isolated = bool(pending.unsent[0].rejections)
                if isolated:
                    await pending.none_in_flight()
                    if pending.to_retry:
                        break
                await self._outbox.send(pending.unsent.popleft(), isolated=isolated)
                if isolated:
                    await pending.none_in_flight()
        finally:
            pending.to_retry.extend(pending.unsent)
            pending.unsent.clear()

    async def _on_unreadable(self, error: SpoolError) -> None:
        """Retry for a while; then go on without the file: its frames are lost, or another process's."""
        self._failed_reads += 1
        if self._failed_reads == 1:
            hint = "Check the disk of edge.spool.folder"
            if error.reason == "spool_locked":
                hint = "One edge service uses a spool folder and topic prefix: stop the other, or set edge.spool.folder"
            log.error("spool_not_read", camera=self._outbox.camera, reason=error.reason, error=str(error), hint=hint)
        if self._spool is None or (self._failed_reads < _MAX_FAILED_READS and error.reason != "spool_locked"):
            return
        await self._spool.run(Spool.discard)
        if not self._pending.to_retry and not self._spool.appending:
            self._outbox.stop_spooling()
