"""The capture thread: reads the source, samples it, looks for motion, and puts numbered frames into the slot."""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from edge.cameras import Camera
from edge.link.messages import Crashed, DecoderChanged, Ended, Failed, Message, Opened, PictureLeftOut
from edge.link.shared_buffer import Count, SharedBuffer
from edge.worker.clock import CaptureClock, FrameTimestamps, LagWatch
from edge.worker.gate import GateDecision
from edge.worker.hardware import SOFTWARE
from edge.worker.sampler import Sampler
from edge.worker.slot import NewestFrameSlot, SlotShutDownError
from edge.worker.source import GrabbedFrame, MaySkip, RawFrame, Reader
from framematch.core.errors import CameraUnavailableError
from framematch.core.redact import redact_url
from framematch.core.units import US_PER_S

_TRACEBACK_MAX = 8_000  # characters of its end: a message is one packet
_REASON_MAX = 1_000


@dataclass(frozen=True)
class CapturedFrame:
    """A numbered frame, not yet converted."""

    raw: RawFrame
    decision: GateDecision
    timestamps: FrameTimestamps
    sequence: int


class Capture:
    """One run of one camera's source, in a thread of its own: call `run` once, and `stop` from any thread.

    A live source never waits for the slot: a frame that a newer one displaces is counted. A finite one (file, folder)
    is read at its own pace, with `repeat` in a loop, and waits for the slot, so that nothing is lost. `open_source`
    gets the question whether a frame is surely not sampled. `gate` decides about a sampled frame and its time
    (`Gate.evaluate`), or raises ValueError when its picture cannot be used.
    """

    def __init__(
        self,
        camera: Camera,
        open_source: Callable[[MaySkip], Reader],
        *,
        gate: Callable[[RawFrame, float], GateDecision],
        buffer: SharedBuffer,
        slot: NewestFrameSlot[CapturedFrame],
        send: Callable[[Message], None],
        max_lag_s: float,
        repeat: bool = False,
        clock: CaptureClock | None = None,
    ) -> None:
        self._camera = camera
        self._open_source = open_source
        self._gate = gate
        self._buffer = buffer
        self._slot = slot
        self._send = send
        self._repeat = repeat
        self._clock = clock or CaptureClock(buffer.counts().last_captured_us)
        self._max_lag_s = max_lag_s
        self._lag = LagWatch(max_lag_s)
        self._sampler = Sampler(camera.fps)
        self._opened = False
        self._decoding = SOFTWARE
        self._stop = threading.Event()
        self.last_message: Message = Ended()

    def stop(self) -> None:
        """Let `run` end, at the latest when its current read returns."""
        self._stop.set()
        self._slot.shut_down()

    def run(self) -> None:
        """Play the source, then shut the slot down; `last_message` tells how the source ended."""
        try:
            while self._play() and self._repeat and not self._stop.is_set():
                pass
        except CameraUnavailableError as error:
            self.last_message = Failed(error.message)
        except SlotShutDownError:
            pass  # stopped
        except Exception as error:  # noqa: BLE001  # reported: the service logs it
            self.last_message = crash_of(error)
        finally:
            self._slot.shut_down()

    def _play(self) -> int:
        """Read the source to its end or until `stop`, and return the number of its frames."""
        reader = self._open_source(self._may_skip)
        try:
            return self._play_live(reader) if self._camera.source.live else self._play_finite(reader)
        finally:
            reader.close()

    def _play_live(self, reader: Reader) -> int:
        frames = 0
        while not self._stop.is_set() and (grabbed := reader.grab()) is not None:
            if grabbed.sign_of_life:
                self._buffer.set(Count.LAST_SKIPPED_NS, time.monotonic_ns())
                continue
            frames += 1
            if grabbed.skipped:
                self._count_skipped()
                continue
            if grabbed.damaged:  # its time may be out of order, and must not set the clock
                self._sample(reader, grabbed, self._clock.due_s())
                continue
            timestamps = self._timestamps(grabbed.media_s, grabbed.camera_s)
            self._buffer.set(Count.LAG_US, round(timestamps.lag_s * US_PER_S))
            if self._lag.is_behind(timestamps):
                raise CameraUnavailableError(f"fell more than {self._max_lag_s:g} s behind; opened again")
            raw = self._sample(reader, grabbed, timestamps.due_s)
            if raw is not None:
                self._capture(raw, timestamps, timestamps.due_s)
        return frames

    def _play_finite(self, reader: Reader) -> int:
        """Sampled frames wait until they are due, and get their timestamps after that."""
        frames = 0
        self._sampler = Sampler(self._camera.fps)
        start_s: float | None = None
        while not self._stop.is_set() and (grabbed := reader.grab()) is not None:
            frames += 1
            if grabbed.skipped:
                self._count_skipped()
                continue
            at_s = grabbed.media_s or 0.0
            raw = self._sample(reader, grabbed, at_s)
            if raw is None:  # its time may be out of order
                continue
            if start_s is None:
                start_s = time.monotonic() - at_s
            if self._stop.wait(max(0.0, start_s + at_s - time.monotonic())):
                break
            self._capture(raw, self._timestamps(), start_s + at_s)
        return frames

    def _may_skip(self, media_s: float) -> bool:
        """Whether the frame of this time in the stream will not be sampled, whatever comes before it."""
        at_s = self._clock.expected_due_s(media_s) if self._camera.source.live else media_s
        return at_s is not None and self._sampler.is_surely_not_due(at_s)

    def _count_skipped(self) -> None:
        self._buffer.add(Count.SOURCE_FRAMES)
        self._buffer.set(Count.LAST_FRAME_NS, time.monotonic_ns())

    def _timestamps(self, media_s: float | None = None, camera_s: float | None = None) -> FrameTimestamps:
        timestamps = self._clock.timestamps(media_s, camera_s)
        self._buffer.set(Count.LAST_CAPTURED_US, timestamps.captured_at_us)
        return timestamps

    def _sample(self, reader: Reader, grabbed: GrabbedFrame, at_s: float) -> RawFrame | None:
        """The picture, if it is due and usable; the next frame takes the place of one that is not usable.

        Only a frame that is due is decoded: a device would decode each of its frames, of which few are needed.
        """
        self._buffer.add(Count.SOURCE_FRAMES)
        due = self._sampler.is_due(at_s)
        raw = self._retrieve(reader) if due and not grabbed.damaged else None
        if raw is not None or not (due or grabbed.damaged):
            self._buffer.set(Count.LAST_FRAME_NS, time.monotonic_ns())
        if due and raw is None:
            self._leave_out(Count.CORRUPT)
            if grabbed.reason is not None:
                self._send(PictureLeftOut(redact_url(grabbed.reason)[:_REASON_MAX]))
        if raw is not None:
            self._sampler.accept(at_s)
        return raw

    def _retrieve(self, reader: Reader) -> RawFrame | None:
        raw = reader.retrieve()
        if raw is not None and not self._opened:
            self._opened = True
            width, height = raw.size
            self._decoding = reader.decoding
            self._send(Opened(width, height, self._decoding.decoder, self._decoding.reason))
        elif raw is not None and reader.decoding != self._decoding:
            self._decoding = reader.decoding
            self._send(DecoderChanged(self._decoding.decoder, self._decoding.reason))
        return raw

    def _capture(self, raw: RawFrame, timestamps: FrameTimestamps, at_s: float) -> None:
        """Number a frame that is worth sending and put it into the slot. From then on it is counted, come what may."""
        try:
            decision = self._gate(raw, at_s)
        except ValueError:
            self._leave_out(Count.CORRUPT)
            return
        if not decision.send:
            self._leave_out(Count.STILL)
            return
        self._buffer.add(Count.SAMPLED)
        captured = CapturedFrame(raw, decision, timestamps, self._buffer.add(Count.CAPTURED))
        if not self._camera.source.live:
            self._slot.put(captured)
        elif self._slot.offer(captured) is not None:
            self._buffer.add(Count.OVERRUN)

    def _leave_out(self, reason: Count) -> None:
        self._buffer.add(Count.SAMPLED)
        self._buffer.add(reason)


def crash_of(error: Exception) -> Crashed:
    """The message that reports an unexpected error."""
    trace = redact_url("".join(traceback.format_exception(error)))
    return Crashed(f"{type(error).__name__}: {redact_url(str(error))}"[:1_000], trace[-_TRACEBACK_MAX:])
