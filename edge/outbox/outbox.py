"""One camera's way to Kafka: sent at once while Kafka takes frames, and by way of the disk while it does not."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from edge.backoff import Backoff
from edge.outbox.connection import Acknowledgement, Record
from edge.outbox.drop_log import DropLog
from edge.outbox.refusals import final, refusal
from edge.outbox.spool import Kept, Spool, SpoolError
from edge.outbox.window import Window
from edge.outgoing import Outgoing
from framematch.core.errors import KafkaUnavailableError
from framematch.core.frames import Frame, frame_headers
from framematch.core.timestamps import now_us

log = structlog.get_logger()

_US_PER_MS = 1_000
_US_PER_S = 1_000_000
_CHUNK_FRAMES = 64
_CHUNK_BYTES = 2_000_000
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_READS_MAX = 5


class Account(Protocol):
    """What became of a camera's frames; `edge.meter.CameraMeter` is one."""

    camera: str

    def published(self, size_bytes: int, seconds: float) -> None:
        """Kafka acknowledged a frame, `seconds` after it came from its source."""

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Frames were given up at `stage`."""


class Sender(Protocol):
    """What is needed of `edge.outbox.connection.Connection`; tests have one that follows a script."""

    @property
    def connected(self) -> bool:
        """Whether it takes records."""

    async def wait_connected(self) -> None:
        """Return as soon as it does."""

    async def send(self, topic: str, record: Record) -> Acknowledgement:
        """Queue a record; the future ends with its acknowledgement, or an error when it was not written."""

    async def send_alone(self, topic: str, record: Record) -> Acknowledgement:
        """The same, in a batch of its own."""


@dataclass(frozen=True)
class Way:
    """What all cameras share on the way out. `executor` has one thread, which does everything on disk."""

    sender: Sender
    topic: str
    window: Window
    executor: Executor
    drops: DropLog
    max_message_bytes: int
    after_s: float
    clock: Callable[[], float] = time.monotonic
    backoff: Callable[[], Backoff] = field(default=lambda: Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S))


@dataclass(eq=False, slots=True)
class _Entry:
    """A frame in memory: in flight, or held to be sent again. It has its room in the window until it leaves."""

    number: int
    frame: Frame
    jpeg: bytes
    grabbed_s: float
    sent_s: float = 0.0
    kept_in: int = 0  # generation of the spool that has it too; 0: it is not on disk
    replay: bool = False
    refusals: int = 0
    settled: bool = False


class Outbox:
    """Takes one camera's frames in order, and accounts for each once: published, or dropped with a reason.

    Every frame is in flight in Kafka's client, held in memory after an error, or waits on disk. Each has an order
    number, which is its place on disk too, so a frame can be written there at any time and comes back in its place.

    Direct: `put` sends. Spooling, once Kafka does not take frames: what is in flight is written to disk too, `put`
    writes to disk, and `run` waits until the fate of all in flight is known, sends from disk in order, and ends it
    when nothing is left. Without `live` nothing is spooled meanwhile: `put` waits.

    The camera's frames are put by one task at a time. For one event loop.
    """

    def __init__(self, camera: str, account: Account, spool: Spool | None, way: Way, *, live: bool) -> None:
        self.camera = camera
        self._account = account
        self._spool = spool
        self._way = way
        self._live = live
        self._number = 0
        self._in_flight: dict[int, _Entry] = {}
        self._held: list[_Entry] = []
        self._unsent: deque[_Entry] = deque()  # of those that are sent again
        self._acknowledged: list[int] = []  # of what is on disk, and can be deleted there
        self._appending = 0
        self._progress_s = way.clock()
        self._error = ""
        self._failed_reads = 0
        self._closed = False
        self._settled = asyncio.Event()
        self._settled.set()
        self._direct = asyncio.Event()
        self._spooling = asyncio.Event()
        self._end_spooling()
        if spool is not None and spool.path.exists():
            self._leave_direct("found")

    @property
    def unacknowledged(self) -> int:
        """Frames in memory: in flight, or held to be sent again."""
        return len(self._in_flight) + len(self._held) + len(self._unsent)

    @property
    def spooled_frames(self) -> int:
        """Frames that are on disk alone."""
        return self._spool.waiting if self._spool else 0

    @property
    def spooled_bytes(self) -> int:
        """Size of the frames on disk, those in flight included."""
        return self._spool.bytes if self._spool else 0

    @property
    def spooled_age_s(self) -> float:
        """For how long the oldest of them has been on disk."""
        return self._spool.oldest_age_s if self._spool else 0.0

    @property
    def spooling(self) -> bool:
        """Whether new frames go to disk, or wait when the source is not live."""
        return not self._direct.is_set()

    @property
    def stalled_s(self) -> float:
        """For how long Kafka has acknowledged nothing while frames were waiting for it; 0 when none waits."""
        waiting = self.unacknowledged or self.spooled_frames
        return self._way.clock() - self._progress_s if waiting else 0.0

    async def put(self, outgoing: Outgoing) -> None:
        """Take a frame, without waiting for Kafka when the source is live. Cancelled, it may have taken it or not."""
        size = len(outgoing.jpeg)
        if size > self._way.max_message_bytes:
            self._drop("publish", "too_large", f"{size} bytes, kafka.max_message_bytes are fewer")
            return
        if not self.stalled_s:
            self._progress_s = self._way.clock()
        if not self._live:
            await self._room(size)
        elif not self._has_room(size):
            await self._keep(self._entry(outgoing))
            return
        await self._send(self._entry(outgoing), within_s=self._way.after_s)

    def check(self) -> None:
        """Spool when Kafka has not answered for too long, or there is no connection."""
        if not self._direct.is_set():
            return
        if self._in_flight and self._live and self._spool is not None:
            oldest = next(iter(self._in_flight.values()))
            if self._way.clock() - oldest.sent_s > self._way.after_s:
                self._leave_direct("no_answer")
        if not self._way.sender.connected:
            self._leave_direct("no_connection")

    async def run(self) -> None:
        """Write to disk, send again and replay whenever that is necessary; endless."""
        while True:
            await self._spooling.wait()
            await self._recover()

    async def settled(self) -> None:
        """Return when the fate of everything in flight is known."""
        await self._settled.wait()

    async def drained(self) -> None:
        """Return when nothing is in flight, held or on disk."""
        while not self._direct.is_set() or self._in_flight:
            await self._direct.wait()
            await self._settled.wait()

    async def upkeep(self) -> None:
        """Give up frames on disk that are too old, and look again at a file that could not be read before."""
        if self._spool is None:
            return
        if self._spool.waiting:
            await self._disk(self._spool.expire)
        elif self._direct.is_set() and self._spool.path.exists():
            self._leave_direct("found")

    async def close(self) -> int:
        """At the end, when `put` and `run` have ended: keep on disk what is in memory. Returns the frames on disk.

        Without a disk they are dropped, and counted.
        """
        await self._keep_in_memory()
        self._closed = True
        rest = [*self._in_flight.values(), *self._held]
        lost = sum(not self._is_kept(entry) for entry in rest)
        if lost:
            self._drop("publish", "kafka_away", "not acknowledged before the end", lost)
        if self._spool is None:
            return 0
        await self._delete_acknowledged()
        left: int = await self._disk(self._spool.close)
        return left

    # Sending

    async def _room(self, size: int) -> None:
        """A source that is not live waits until its frames can be sent at once."""
        while True:
            self.check()
            await self._direct.wait()
            if self._way.window.try_take(1, size):
                return
            await self._way.window.freed()

    def _has_room(self, size: int) -> bool:
        """A live source: whether the frame can be sent at once; there is room for it then."""
        self.check()
        if not self._direct.is_set():
            return False
        if self._way.window.try_take(1, size):
            return True
        if self._spool is not None:
            self._leave_direct("window_full")
        return False

    def _entry(self, outgoing: Outgoing) -> _Entry:
        self._number += 1
        return _Entry(self._number, outgoing.frame, outgoing.jpeg, outgoing.grabbed_s)

    async def _send(self, entry: _Entry, *, within_s: float | None = None, alone: bool = False) -> bool:
        """Send a frame that has its room; False when it is held, to be sent again."""
        self._in_flight[entry.number] = entry
        self._settled.clear()
        entry.sent_s = self._way.clock()
        record: Record = {
            "key": entry.frame.camera.encode(),
            "value": entry.jpeg,
            "headers": frame_headers(entry.frame),
            "timestamp_ms": entry.frame.captured_at_us // _US_PER_MS,
        }
        sender = self._way.sender
        try:
            async with asyncio.timeout(within_s):
                future = await (sender.send_alone if alone else sender.send)(self._way.topic, record)
        except (KafkaError, KafkaUnavailableError, TimeoutError) as error:
            # Refused by the client itself, before it shared a batch with others.
            self._fail(entry, error, alone=alone or isinstance(error, MessageSizeTooLargeError))
            return entry.settled
        except BaseException as error:
            self._hold(entry, error)
            raise
        future.add_done_callback(partial(self._answer, entry, alone))
        return True

    def _answer(self, entry: _Entry, alone: bool, done: Acknowledgement) -> None:
        if self._closed:
            if not done.cancelled():
                done.exception()
            return
        self._progress_s = self._way.clock()
        if done.cancelled():
            self._fail(entry, KafkaUnavailableError("the producer was closed"), alone=alone)
        elif error := done.exception():
            self._fail(entry, error, alone=alone)
        else:
            self._leave(entry)
            self._account.published(len(entry.jpeg), self._progress_s - entry.grabbed_s)

    def _fail(self, entry: _Entry, error: BaseException, *, alone: bool) -> None:
        """Drop what Kafka refuses for good; hold everything else, and what was refused along with others."""
        reason = refusal(error)
        if reason:
            entry.refusals += 1
        if reason and alone and final(error, entry.refusals):
            self._leave(entry)
            self._drop("publish", reason, f"{type(error).__name__}: {error}")
        else:
            self._hold(entry, error)

    def _hold(self, entry: _Entry, error: BaseException) -> None:
        self._error = f"{type(error).__name__}: {error}"
        self._held.append(entry)
        self._leave_flight(entry)
        self._leave_direct(self._error)

    def _leave(self, entry: _Entry) -> None:
        entry.settled = True
        if entry.kept_in:
            self._acknowledged.append(entry.number)
        self._free(entry)
        self._leave_flight(entry)

    def _free(self, entry: _Entry) -> None:
        self._way.window.release(1, len(entry.jpeg), replay=entry.replay)

    def _leave_flight(self, entry: _Entry) -> None:
        del self._in_flight[entry.number]
        if not self._in_flight:
            self._settled.set()

    # Spooling

    def _leave_direct(self, why: str) -> None:
        if self._direct.is_set():
            self._direct.clear()
            self._spooling.set()
            log.info("spooling_started", camera=self.camera, reason=why)

    def _end_spooling(self) -> None:
        self._spooling.clear()
        self._direct.set()

    async def _recover(self) -> None:
        backoff = self._way.backoff()
        while not self._direct.is_set():
            await self._keep_in_memory()
            await self._settled.wait()
            await self._tidy()
            await self._way.sender.wait_connected()
            try:
                more = await (self._resend() if self._held else self._replay())
            except SpoolError as error:
                await self._unreadable(error)
                await asyncio.sleep(backoff.next_delay_s())
                continue
            self._failed_reads = 0
            await self._settled.wait()
            if self._held:
                log.warning("frames_held", camera=self.camera, frames=len(self._held), error=self._error)
                await asyncio.sleep(backoff.next_delay_s())
            elif more or self._appending or self.spooled_frames:
                backoff.reset()
            else:
                self._end_spooling()
                log.info("spooling_ended", camera=self.camera)

    async def _unreadable(self, error: SpoolError) -> None:
        """Try again; then go on without the disk: what waits there is lost, or another process's."""
        self._failed_reads += 1
        if self._failed_reads == 1:
            log.error(
                "spool_not_read",
                camera=self.camera,
                reason=error.reason,
                error=str(error),
                hint="One edge service uses a spool folder and topic prefix: stop the other, or set edge.spool.folder"
                if error.reason == "spool_locked"
                else "Check the disk of edge.spool.folder",
            )
        if self._spool is None or (self._failed_reads < _READS_MAX and error.reason != "spool_locked"):
            return
        await self._disk(self._spool.give_up)
        if not self._held and not self._appending:
            self._end_spooling()

    async def _keep(self, entry: _Entry) -> None:
        """Put a new frame on disk."""
        if self._spool is None:
            self._drop("put", "kafka_away", "Kafka does not take frames, and edge.spool.enabled is false")
            return
        self._appending += 1
        kept = [Kept(entry.number, entry.frame, entry.jpeg)]
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._way.executor, partial(self._spool.append, kept))
        future.add_done_callback(self._kept)
        await asyncio.wait([future])  # not cancelled with us: the frame is taken
        if (error := future.exception()) and not isinstance(error, SpoolError):
            raise error

    def _kept(self, done: asyncio.Future[int]) -> None:
        self._appending -= 1
        self._count_losses()
        error = done.exception()
        if isinstance(error, SpoolError):
            self._drop("spool", error.reason, str(error))

    async def _keep_in_memory(self) -> None:
        """Write what is in flight or held to disk, too. What cannot be written stays in memory alone."""
        if self._spool is None:
            return
        entries = [entry for entry in (*self._in_flight.values(), *self._held) if not self._is_kept(entry)]
        if not entries:
            return
        kept = [Kept(entry.number, entry.frame, entry.jpeg) for entry in entries]
        try:
            generation = await self._disk(partial(self._spool.append, kept, taken=True))
        except SpoolError as error:
            log.warning("frames_not_spooled", camera=self.camera, reason=error.reason, error=str(error))
            return
        for entry in entries:
            entry.kept_in = generation
            if entry.settled:
                self._acknowledged.append(entry.number)

    def _is_kept(self, entry: _Entry) -> bool:
        return self._spool is not None and entry.kept_in == self._spool.generation

    async def _tidy(self) -> None:
        """Delete what was acknowledged, and leave to the disk what failed and is there."""
        await self._delete_acknowledged()
        if self._spool is None or not self._held:
            return
        if all(self._is_kept(entry) and not entry.refusals for entry in self._held):
            with suppress(SpoolError):  # then they stay in memory
                await self._disk(partial(self._spool.untake, min(entry.number for entry in self._held)))
                for entry in self._held:
                    self._free(entry)
                self._held.clear()

    async def _delete_acknowledged(self) -> None:
        if self._acknowledged and self._spool is not None:
            numbers, self._acknowledged = self._acknowledged, []
            await self._disk(partial(self._spool.done, numbers))

    async def _resend(self) -> bool:
        """Send what is held, in order; one that was refused alone."""
        entries, self._held = sorted(self._held, key=lambda entry: entry.number), []
        await self._send_all(entries)
        return True

    async def _replay(self) -> bool:
        """Send the next frames from disk; False when there are none."""
        if self._spool is None:
            return False
        window = self._way.window
        frames_max, bytes_max = window.replay_max
        frames, size = min(_CHUNK_FRAMES, frames_max), min(_CHUNK_BYTES, bytes_max)
        while not window.try_take(frames, size, replay=True):
            await window.freed()
        entries: list[_Entry] = []
        try:
            rows = await self._disk(partial(self._spool.take, frames, size))
            entries = [self._replayed(kept) for kept in rows]
        finally:
            window.release(frames, size, replay=True)
            for entry in entries:
                window.add(1, len(entry.jpeg), replay=True)
        await self._send_all(entries)
        return bool(entries)

    def _replayed(self, kept: Kept) -> _Entry:
        frame = replace(kept.frame, replayed=True)
        age_s = (now_us() - (frame.grabbed_at_us or frame.captured_at_us)) / _US_PER_S
        generation = self._spool.generation if self._spool else 0
        return _Entry(kept.number, frame, kept.jpeg, self._way.clock() - age_s, kept_in=generation, replay=True)

    async def _send_all(self, entries: Sequence[_Entry]) -> None:
        """Send in order, until one fails: it and all behind it are held then. One that was refused goes alone."""
        self._unsent.extend(entries)
        try:
            while self._unsent and not self._held:
                alone = bool(self._unsent[0].refusals)
                if alone:
                    await self._settled.wait()
                    if self._held:
                        break
                await self._send(self._unsent.popleft(), alone=alone)
                if alone:
                    await self._settled.wait()
        finally:
            self._held.extend(self._unsent)
            self._unsent.clear()

    async def _disk(self, work: Callable[[], Any]) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._way.executor, work)
        finally:
            self._count_losses()

    def _count_losses(self) -> None:
        while self._spool is not None and self._spool.losses:
            reason, count = self._spool.losses.popleft()
            self._drop("spool", reason, "edge.spool.max_mb and max_age_s say how much is kept", count)

    def _drop(self, stage: str, reason: str, error: str, count: int = 1) -> None:
        self._account.dropped(stage, reason, count)
        self._way.drops.add(self.camera, reason, error, count)
