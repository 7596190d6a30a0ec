"""Frames in memory until Kafka has them: those of one outbox, and the windows that bound those of all cameras."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Self

from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.records import ProducerRecord
from framematch.core.tracing import TraceContext, Tracer
from framematch.core.units import NS_PER_S, US_PER_MS


class Window:
    """Bounds the frames in memory by number and bytes. What counts against it also counts against its `parent`.

    For one event loop.
    """

    def __init__(self, frames_max: int, bytes_max: int, parent: Self | None = None) -> None:
        self.frames_max = frames_max
        self.bytes_max = bytes_max
        self.frames = self.bytes = 0
        self._parent = parent
        self._changed: asyncio.Event = parent._changed if parent else asyncio.Event()  # noqa: SLF001  # our own class

    def part(self, share: float) -> Self:
        """A window for frames that may use only a share of this one."""
        return type(self)(max(1, int(share * self.frames_max)), max(1, int(share * self.bytes_max)), parent=self)

    def try_take(self, frames: int, size_bytes: int) -> bool:
        """Count frames if they fit, and return whether they do. Into an empty window fits whatever comes first."""
        if self.frames and (self.frames + frames > self.frames_max or self.bytes + size_bytes > self.bytes_max):
            return False
        if self._parent is not None and not self._parent.try_take(frames, size_bytes):
            return False
        self.frames += frames
        self.bytes += size_bytes
        return True

    def add(self, frames: int, size_bytes: int) -> None:
        """Count frames, whether or not they fit."""
        self.frames += frames
        self.bytes += size_bytes
        if self._parent is not None:
            self._parent.add(frames, size_bytes)

    def release(self, frames: int, size_bytes: int) -> None:
        """Count frames no longer."""
        self.add(-frames, -size_bytes)
        self.wake()

    async def changed(self) -> None:
        """Return at the next `release` or `wake`, of the parent too."""
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        """Let everything that waits for `changed` check its conditions again."""
        self._changed.set()


@dataclass(eq=False, slots=True)
class PendingFrame:
    """A frame in memory. It counts against its window until it is settled or left to the spool."""

    number: int
    window: Window
    frame: Frame
    jpeg: bytes
    grabbed_s: float
    encoded_s: float | None  # None: the frame was spooled, and the spool does not store it
    sent_s: float = 0.0
    spool_generation: int = 0  # of the spool file that has the frame too; 0: none has
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


class PendingFrames:
    """One outbox's frames in memory: each is in flight in the producer, failed and to retry, or about to be sent."""

    def __init__(self) -> None:
        self.in_flight: dict[int, PendingFrame] = {}  # by number, in the order in which they were sent
        self.to_retry: list[PendingFrame] = []
        self.unsent: deque[PendingFrame] = deque()
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
        frame.window.release(1, len(frame.jpeg))
        self._leave_flight(frame)

    def fail(self, frame: PendingFrame) -> None:
        """A frame in flight was not written."""
        self.to_retry.append(frame)
        self._leave_flight(frame)
        frame.window.wake()  # a replay that waits for the window must stop

    def leave_to_spool(self) -> None:
        """Free the frames to retry, which the spool has."""
        for frame in self.to_retry:
            frame.window.release(1, len(frame.jpeg))
        self.to_retry.clear()

    async def none_in_flight(self) -> None:
        """Return when everything that was sent is acknowledged or has failed."""
        await self._none_in_flight.wait()

    def _leave_flight(self, frame: PendingFrame) -> None:
        del self.in_flight[frame.number]
        if not self.in_flight:
            self._none_in_flight.set()
