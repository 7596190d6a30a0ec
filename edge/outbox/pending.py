"""Frames in memory on their way to Kafka: those of one outbox, and the window that bounds those of all cameras."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.records import ProducerRecord
from framematch.core.tracing import TraceContext, Tracer
from framematch.core.units import NS_PER_S, US_PER_MS


@dataclass(eq=False, slots=True)
class PendingFrame:
    """A frame in memory. It counts against the window until it is settled or left to the spool."""

    number: int
    frame: Frame
    jpeg: bytes
    grabbed_s: float
    encoded_s: float | None  # None: the frame was spooled, and the spool does not store it
    sent_s: float = 0.0
    spool_generation: int = 0  # of the spool file that has the frame too; 0: none has
    replay: bool = False
    rejections: int = 0
    settled: bool = False  # acknowledged or dropped

    def record(self, topic: str) -> ProducerRecord:
        """The Kafka record: the JPEG, keyed by camera, with all else in headers."""
        frame = self.frame
        captured_ms = frame.captured_at_us // US_PER_MS
        return ProducerRecord(topic, frame.camera.encode(), self.jpeg, frame_headers(frame), captured_ms)

    def trace(self, tracer: Tracer, topic: str, *, acknowledged_s: float) -> None:
        """Record the root span of an acknowledged frame, with its stages.

        `encode`: from the grab until it was encoded, waits included; for a spooled frame `spool`, until it was sent.
        `publish`: from the last send to the acknowledgement.
        """
        context = TraceContext.parse(self.frame.traceparent)
        if context is None or not context.sampled:
            return
        now_ns = time.time_ns()

        def at_ns(monotonic_s: float) -> int:
            return now_ns - int((acknowledged_s - monotonic_s) * NS_PER_S)

        first, ended_s = ("spool", self.sent_s) if self.encoded_s is None else ("encode", self.encoded_s)
        stages = {first: (at_ns(self.grabbed_s), at_ns(ended_s)), "publish": (at_ns(self.sent_s), now_ns)}
        attributes: dict[str, str | int | bool] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
            "messaging.message.id": self.frame.id,
            "messaging.message.body.size": len(self.jpeg),
            "framematch.camera": self.frame.camera,
            "framematch.frame.id": self.frame.id,
            "framematch.frame.replayed": self.frame.replayed,
        }
        tracer.captured(context, stages, attributes)


class _Budget:
    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self.frames_max = frames_max
        self.bytes_max = bytes_max
        self.frames = self.bytes = 0

    def fits(self, frames: int, size_bytes: int) -> bool:
        """One frame always fits into an empty budget, whatever its size."""
        return not self.frames or (
            self.frames + frames <= self.frames_max and self.bytes + size_bytes <= self.bytes_max
        )

    def change(self, frames: int, size_bytes: int) -> None:
        self.frames += frames
        self.bytes += size_bytes


class Window:
    """Bounds the frames in memory over all cameras, by number and bytes. Replayed frames may use half of it.

    For one event loop.
    """

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self._all = _Budget(frames_max, bytes_max)
        self._replay = _Budget(max(1, frames_max // 2), max(1, bytes_max // 2))
        self._changed = asyncio.Event()

    @property
    def frames(self) -> int:
        """Frames that count against it."""
        return self._all.frames

    @property
    def replay_max(self) -> tuple[int, int]:
        """The limits for replayed frames: frames, bytes."""
        return self._replay.frames_max, self._replay.bytes_max

    def try_take(self, frames: int, size_bytes: int, *, replay: bool = False) -> bool:
        """Reserve a part of the window, or return False when that much is not free."""
        if not self._all.fits(frames, size_bytes) or (replay and not self._replay.fits(frames, size_bytes)):
            return False
        self.add(frames, size_bytes, replay=replay)
        return True

    def add(self, frames: int, size_bytes: int, *, replay: bool = False) -> None:
        """Count frames, whether or not they fit."""
        self._all.change(frames, size_bytes)
        if replay:
            self._replay.change(frames, size_bytes)

    def release(self, frames: int, size_bytes: int, *, replay: bool = False) -> None:
        """Free a part of the window."""
        self.add(-frames, -size_bytes, replay=replay)
        self.wake()

    async def changed(self) -> None:
        """Return at the next `release` or `wake`."""
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        """Let everything that waits for `changed` check its conditions again."""
        self._changed.set()


class PendingFrames:
    """One outbox's frames in memory: each is in flight in the producer, failed and to retry, or about to be sent."""

    def __init__(self, window: Window) -> None:
        self.in_flight: dict[int, PendingFrame] = {}  # by number, in the order in which they were sent
        self.to_retry: list[PendingFrame] = []
        self.unsent: deque[PendingFrame] = deque()
        self._window = window
        self._none_in_flight = asyncio.Event()
        self._none_in_flight.set()

    def __len__(self) -> int:
        return len(self.in_flight) + len(self.to_retry) + len(self.unsent)

    def sending(self, frame: PendingFrame, at_s: float) -> None:
        """A frame is given to the producer at a monotonic time."""
        frame.sent_s = at_s
        self.in_flight[frame.number] = frame
        self._none_in_flight.clear()

    def settle(self, frame: PendingFrame) -> None:
        """A frame in flight was acknowledged or dropped."""
        frame.settled = True
        self._free(frame)
        self._leave_flight(frame)

    def fail(self, frame: PendingFrame) -> None:
        """A frame in flight was not written."""
        self.to_retry.append(frame)
        self._leave_flight(frame)
        self._window.wake()  # a replay that waits for the window must stop

    def leave_to_spool(self) -> None:
        """Free the frames to retry, which the spool has."""
        for frame in self.to_retry:
            self._free(frame)
        self.to_retry.clear()

    async def none_in_flight(self) -> None:
        """Return when everything that was sent is acknowledged or has failed."""
        await self._none_in_flight.wait()

    def _free(self, frame: PendingFrame) -> None:
        self._window.release(1, len(frame.jpeg), replay=frame.replay)

    def _leave_flight(self, frame: PendingFrame) -> None:
        del self.in_flight[frame.number]
        if not self.in_flight:
            self._none_in_flight.set()
