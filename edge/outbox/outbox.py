"""One camera's way to Kafka: sent at once while Kafka takes frames, and by way of the disk while it does not."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from edge.outbox.connection import Acknowledgement
from edge.outbox.disk import Disk
from edge.outbox.refusals import final, refusal
from edge.outbox.spool import Spool, SpoolError
from edge.outbox.trace import trace_published
from edge.outbox.way import Account, Entry, Way
from edge.outgoing import Outgoing
from framematch.core.errors import KafkaUnavailableError

log = structlog.get_logger()

_CHUNK_FRAMES = 64
_CHUNK_BYTES = 2_000_000
_READS_MAX = 5


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
        self._way = way
        self._disk = None if spool is None else Disk(spool, way.executor, way.clock, partial(self._drop, "spool"))
        self._live = live
        self._number = 0
        self._in_flight: dict[int, Entry] = {}
        self._held: list[Entry] = []
        self._unsent: deque[Entry] = deque()  # of those that are sent again
        self._acknowledged: list[int] = []  # of what is on disk, and can be deleted there
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

    def serve(self, account: Account, *, live: bool) -> None:
        """Go on for a camera that changed: with this account, and with a source that is `live` or not."""
        self._account = account
        self._live = live

    @property
    def unacknowledged(self) -> int:
        """Frames in memory: in flight, or held to be sent again."""
        return len(self._in_flight) + len(self._held) + len(self._unsent)

    @property
    def spooled_frames(self) -> int:
        """Frames that are on disk alone."""
        return self._disk.spool.waiting if self._disk else 0

    @property
    def spooled_bytes(self) -> int:
        """Size of the frames on disk, those in flight included."""
        return self._disk.spool.bytes if self._disk else 0

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
        await self._send(self._entry(outgoing))

    def check(self) -> None:
        """Spool when Kafka has not answered for too long, or there is no connection."""
        if not self._direct.is_set():
            return
        if self._in_flight and self._live and self._disk is not None:
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
        if self._disk is None:
            return
        if self.spooled_frames:
            await self._disk.expire()
        elif self._direct.is_set() and await self._disk.look():
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
        if self._disk is None:
            return 0
        await self._delete_acknowledged()
        return await self._disk.close()

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
        if self._disk is not None:
            self._leave_direct("window_full")
        return False

    def _entry(self, outgoing: Outgoing) -> Entry:
        self._number += 1
        return Entry(self._number, outgoing.frame, outgoing.jpeg, outgoing.grabbed_s, outgoing.encoded_s)

    async def _send(self, entry: Entry, *, alone: bool = False) -> bool:
        """Send a frame that has its room; False when it is held, to be sent again."""
        self._in_flight[entry.number] = entry
        self._settled.clear()
        entry.sent_s = self._way.clock()
        sender = self._way.sender
        try:
            future = await (sender.send_alone if alone else sender.send)(entry.record(self._way.topic))
        except (KafkaError, KafkaUnavailableError) as error:
            # Refused by the client itself, before it shared a batch with others.
            self._fail(entry, error, alone=alone or isinstance(error, MessageSizeTooLargeError))
            return entry.settled
        except BaseException as error:
            self._hold(entry, error)
            raise
        future.add_done_callback(partial(self._answer, entry, alone))
        return True

    def _answer(self, entry: Entry, alone: bool, done: Acknowledgement) -> None:
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
            if self._way.tracer is not None:
                trace_published(self._way.tracer, entry, self._way.topic, acknowledged_s=self._progress_s)

    def _fail(self, entry: Entry, error: BaseException, *, alone: bool) -> None:
        """Drop what Kafka refuses for good; hold everything else, and what was refused along with others."""
        reason = refusal(error)
        if reason:
            entry.refusals += 1
        if reason and alone and final(error, entry.refusals):
            self._leave(entry)
            self._drop("publish", reason, f"{type(error).__name__}: {error}")
        else:
            self._hold(entry, error)

    def _hold(self, entry: Entry, error: BaseException) -> None:
        self._error = f"{type(error).__name__}: {error}"
        self._held.append(entry)
        self._leave_flight(entry)
        self._leave_direct(self._error)

    def _leave(self, entry: Entry) -> None:
        entry.settled = True
        if entry.kept_in:
            self._acknowledged.append(entry.number)
        self._free(entry)
        self._leave_flight(entry)

    def _free(self, entry: Entry) -> None:
        self._way.window.release(1, len(entry.jpeg), replay=entry.replay)

    def _leave_flight(self, entry: Entry) -> None:
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
            elif more or self.spooled_frames or (self._disk and self._disk.appending):
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
        if self._disk is None or (self._failed_reads < _READS_MAX and error.reason != "spool_locked"):
            return
        await self._disk.give_up()
        if not self._held and not self._disk.appending:
            self._end_spooling()

    async def _keep(self, entry: Entry) -> None:
        """Put a new frame on disk."""
        if self._disk is None:
            self._drop("put", "kafka_away", "Kafka does not take frames, and edge.spool.enabled is false")
        else:
            await self._disk.append(entry)

    async def _keep_in_memory(self) -> None:
        """Write what is in flight or held to disk, too. What cannot be written stays in memory alone."""
        entries = [entry for entry in (*self._in_flight.values(), *self._held) if not self._is_kept(entry)]
        if self._disk is None or not entries:
            return
        try:
            settled = await self._disk.keep(entries)
        except SpoolError as error:
            log.warning("frames_not_spooled", camera=self.camera, reason=error.reason, error=str(error))
        else:
            self._acknowledged.extend(settled)

    def _is_kept(self, entry: Entry) -> bool:
        return self._disk is not None and self._disk.holds(entry)

    async def _tidy(self) -> None:
        """Delete what was acknowledged, and leave to the disk what failed and is there."""
        await self._delete_acknowledged()
        if self._disk is None or not self._held:
            return
        if all(self._is_kept(entry) and not entry.refusals for entry in self._held):
            with suppress(SpoolError):  # then they stay in memory
                await self._disk.untake(min(entry.number for entry in self._held))
                for entry in self._held:
                    self._free(entry)
                self._held.clear()

    async def _delete_acknowledged(self) -> None:
        if self._acknowledged and self._disk is not None:
            numbers = tuple(self._acknowledged)
            await self._disk.done(numbers)
            del self._acknowledged[: len(numbers)]  # not before: cancelled meanwhile, it is done again

    async def _resend(self) -> bool:
        """Send what is held, in order; one that was refused alone."""
        entries, self._held = sorted(self._held, key=lambda entry: entry.number), []
        await self._send_all(entries)
        return True

    async def _replay(self) -> bool:
        """Send the next frames from disk; False when there are none."""
        if self._disk is None:
            return False
        window = self._way.window
        frames_max, bytes_max = window.replay_max
        frames, size = min(_CHUNK_FRAMES, frames_max), min(_CHUNK_BYTES, bytes_max)
        while not window.try_take(frames, size, replay=True):
            await window.freed()
        try:
            entries = await self._disk.take(frames, size)
        finally:
            window.release(frames, size, replay=True)
        for entry in entries:
            window.add(1, len(entry.jpeg), replay=True)
        await self._send_all(entries)
        return bool(entries)

    async def _send_all(self, entries: Sequence[Entry]) -> None:
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

    def _drop(self, stage: str, reason: str, error: str, count: int = 1) -> None:
        self._account.dropped(stage, reason, count)
        self._way.drops.add(self.camera, reason, error, count)
