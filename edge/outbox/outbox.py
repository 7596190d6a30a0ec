"""One camera's outbox: frames go straight to Kafka while it takes them, and to the spool while it does not."""

import asyncio
from contextlib import suppress
from enum import Enum
from functools import partial

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from edge.outbox.async_spool import AsyncSpool
from edge.outbox.context import DeliveryStats, OutboxContext
from edge.outbox.pending import PendingFrame, PendingFrames
from edge.outbox.producer import Acknowledgement, rejection
from edge.outbox.spool import Spool
from edge.outbox.spool_file import SpoolError
from edge.sinks import Outgoing
from framematch.core.errors import KafkaUnavailableError

log = structlog.get_logger()


class State(Enum):
    """What happens to a new frame."""

    DIRECT = "direct"  # it is sent
    SPOOLING = "spooling"  # it is spooled; without a spool it is dropped; a source that is not live waits
    CLOSED = "closed"  # it is dropped


class Outbox:
    """Takes one camera's frames in order, and counts each once: published, or dropped with a reason.

    A frame is in memory (`pending`), in the spool, or in both. Its order number is also its place in the spool, so a
    frame can be spooled at any time and is replayed in its place. The outbox starts to spool when Kafka does not take
    frames; `edge.outbox.recovery` sends what is left and makes it DIRECT again.

    One task at a time puts frames. For one event loop.
    """

    def __init__(
        self, camera: str, stats: DeliveryStats, spool: Spool | None, context: OutboxContext, *, live: bool
    ) -> None:
        self.camera = camera
        self.context = context
        self.pending = PendingFrames()
        self.spool = (
            None
            if spool is None
            else AsyncSpool(spool, context.executor, context.clock, partial(self._drop, "spool"), self._find)
        )
        self.state = State.DIRECT
        self.last_error = ""
        self._stats = stats
        self._live = live
        self._last_number = 0
        self._progress_s = context.clock()
        self._entered = {state: asyncio.Event() for state in State}
        self._entered[self.state].set()
        if spool is not None and spool.path.exists():
            self.start_spooling("found")

    def update(self, stats: DeliveryStats, *, live: bool) -> None:
        """Continue with other statistics, and with a source that is `live` or not."""
        if stats is not self._stats and (known := self.spooled_frames + len(self.pending)):
            stats.found(known)
        self._stats = stats
        self._live = live

    @property
    def spooled_frames(self) -> int:
        """Frames that only the spool has."""
        return self.spool.waiting if self.spool else 0

    @property
    def spooled_bytes(self) -> int:
        """Size of all frames in the spool, those in flight included."""
        return self.spool.bytes if self.spool else 0

    @property
    def stalled_s(self) -> float:
        """For how long Kafka has acknowledged nothing while frames waited for it; 0 when none waits."""
        waiting = self.pending or self.spooled_frames
        return self.context.clock() - self._progress_s if waiting else 0.0

    @property
    def silent(self) -> bool:
        """Whether frames wait and Kafka acknowledges none of them."""
        return self.stalled_s > self.context.after_s

    @property
    def empty(self) -> bool:
        """Whether it has no frame in memory or on disk."""
        if self.state is not State.DIRECT or self.pending:
            return False
        return self.spool is None or not (self.spool.appending or self.spool.spool.has_frames)

    async def put(self, outgoing: Outgoing) -> None:
        """Take a frame. Only a source that is not live waits for Kafka.

        CancelledError means that it has not taken the frame. A cancellation during a write to disk takes effect after
        `put` has returned, at the caller's next `await`.
        """
        size = len(outgoing.jpeg)
        if self.state is State.CLOSED:
            self._drop("put", "stopped", "the edge is stopping")
            return
        if size > self.context.max_message_bytes:
            self._drop("publish", "too_large", f"{size} bytes, more than kafka.max_message_bytes")
            return
        if not self.stalled_s:
            self._progress_s = self.context.clock()
        if not self._live:
            await self._wait_for_window(size)
        elif not self._take_window(size):
            await self._spool_new(self._next(outgoing))
            return
        await self.send(self._next(outgoing))

    def check(self) -> None:
        """Start to spool when Kafka has not answered for too long, or is not connected."""
        if self.state is not State.DIRECT:
            return
        if self.pending.in_flight and self._live and self.spool is not None:
            oldest = next(iter(self.pending.in_flight.values()))
            if self.context.clock() - oldest.sent_s > self.context.after_s:
                self.start_spooling("no_answer")
        if not self.context.producer.connected:
            self.start_spooling("no_connection")

    async def entered(self, state: State) -> None:
        """Return when it is in this state."""
        await self._entered[state].wait()

    async def drained(self) -> None:
        """Return when no frame is in memory or on disk."""
        while self.state is State.SPOOLING or self.pending.in_flight:
            await self.entered(State.DIRECT)
            await self.pending.none_in_flight()

    async def upkeep(self) -> None:
        """Discard spooled frames that are too old, and retry a file that could not be read."""
        if self.spool is None or self.state is State.CLOSED:
            return
        if self.spooled_frames:
            await self.spool.run(Spool.expire)
        elif self.state is State.DIRECT and await self.spool.run(Spool.reopen):
            self.start_spooling("found")

    async def settle(self) -> None:
        """Return when nothing is in flight, or Kafka is silent and all of it is on disk: to wait would gain nothing."""
        pending = self.pending
        while pending.in_flight:
            if self.silent:
                await self.spool_pending()
                if all(self._is_spooled(frame) for frame in pending.in_flight.values()):
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(self.context.after_s):
                    await pending.none_in_flight()

    async def close(self) -> int:
        """Stop for good and spool what is in memory. Returns the number of frames on disk.

        Call it after the last `put`, when no recovery runs. Frames that cannot be spooled are dropped.
        """
        await self.spool_pending()
        self._enter(State.CLOSED)
        pending = self.pending
        if lost := sum(not self._is_spooled(frame) for frame in (*pending.in_flight.values(), *pending.to_retry)):
            self._drop("publish", "kafka_away", "not acknowledged before the end", lost)
        if self.spool is None:
            return 0
        await self.spool.flush()
        return await self.spool.close()

    # Sending

    async def send(self, frame: PendingFrame, *, isolated: bool = False) -> None:
        """Send a frame that counts against the window. If that fails, it is to be retried, or is dropped."""
        self.pending.sending(frame, self.context.clock())
        producer = self.context.producer
        record = frame.record(self.context.topic)
        try:
            future = await (producer.send_isolated(record) if isolated else producer.send(record))
        except (KafkaError, KafkaUnavailableError) as error:
            # Too large for the producer itself: this is about the one record.
            self._fail(frame, error, isolated=isolated or isinstance(error, MessageSizeTooLargeError))
        except BaseException as error:
            self._retry(frame, error)
            raise
        else:
            future.add_done_callback(partial(self._on_delivery, frame, isolated))

    def _take_window(self, size: int) -> bool:
        """For a live source: whether the frame can be sent at once; then it counts against the window."""
        self.check()
        if self.state is not State.DIRECT:
            return False
        if self.context.window.try_take(1, size):
            return True
        if self.spool is not None:
            self.start_spooling("window_full")
        return False

    async def _wait_for_window(self, size: int) -> None:
        """For other sources: wait until the frame can be sent at once; then it counts against the window."""
        while True:
            self.check()
            await self.entered(State.DIRECT)
            if self.context.window.try_take(1, size):
                return
            await self.context.window.changed()

    def _next(self, new: Outgoing) -> PendingFrame:
        self._last_number += 1
        return PendingFrame(self._last_number, self.context.window, new.frame, new.jpeg, new.grabbed_s, new.encoded_s)

    def _on_delivery(self, frame: PendingFrame, isolated: bool, done: Acknowledgement) -> None:
        error = KafkaUnavailableError("the producer was closed") if done.cancelled() else done.exception()
        if self.state is State.CLOSED:
            return
        self._progress_s = self.context.clock()
        if error is not None:
            self._fail(frame, error, isolated=isolated)
            return
        self._settle(frame)
        self._stats.published(len(frame.jpeg), self._progress_s - frame.grabbed_s)
        if self.context.tracer is not None:
            frame.trace(self.context.tracer, self.context.topic, acknowledged_s=self._progress_s)

    def _fail(self, frame: PendingFrame, error: BaseException, *, isolated: bool) -> None:
        """Drop a frame that Kafka rejects for good. Retry all others, also one rejected together with others."""
        found = rejection(error)
        if found is not None:
            frame.rejections += 1
        if found is not None and isolated and frame.rejections >= found.attempts:
            self._settle(frame)
            self._drop("publish", found.reason, f"{type(error).__name__}: {error}")
        else:
            self._retry(frame, error)

    def _retry(self, frame: PendingFrame, error: BaseException) -> None:
        self.last_error = f"{type(error).__name__}: {error}"
        self.pending.fail(frame)
        self.start_spooling(self.last_error)

    def _settle(self, frame: PendingFrame) -> None:
        self.pending.settle(frame)
        if self.spool is not None:
            self.spool.ack(frame)

    # Spooling

    def start_spooling(self, reason: str) -> None:
        """Send no new frames until `stop_spooling`."""
        if self.state is State.DIRECT:
            self._enter(State.SPOOLING)
            if self.spool is not None:
                log.info("spooling_started", camera=self.camera, reason=reason)
            else:
                frames = "dropped" if self._live else "waiting"
                log.warning("sending_paused", camera=self.camera, reason=reason, new_frames=frames)

    def stop_spooling(self) -> None:
        """Send new frames again; there must be no older ones."""
        if self.state is State.SPOOLING:
            self._enter(State.DIRECT)
            log.info("spooling_ended" if self.spool else "sending_resumed", camera=self.camera)

    async def spool_pending(self) -> None:
        """Spool frames in memory too. Those that cannot be written stay in memory only."""
        pending = self.pending
        frames = [frame for frame in (*pending.in_flight.values(), *pending.to_retry) if not self._is_spooled(frame)]
        if self.spool is not None and frames:
            try:
                await self.spool.copy(frames)
            except SpoolError as error:
                log.warning("frames_not_spooled", camera=self.camera, reason=error.reason, error=str(error))

    async def _spool_new(self, frame: PendingFrame) -> None:
        if self.spool is None:
            self._drop("put", "kafka_away", "Kafka does not take frames, and edge.spool.enabled is false")
        else:
            await self.spool.append(frame)

    def _is_spooled(self, frame: PendingFrame) -> bool:
        return self.spool is not None and self.spool.has(frame)

    def _enter(self, state: State) -> None:
        self._entered[self.state].clear()
        self.state = state
        self._entered[state].set()

    def _find(self, count: int) -> None:
        self._stats.found(count)

    def _drop(self, stage: str, reason: str, error: str, count: int = 1) -> None:
        self._stats.dropped(stage, reason, count)
        self.context.drops.add(self.camera, reason, error, count)
