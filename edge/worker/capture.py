"""Fills the slot from a thread of its own: reads the source, samples, looks for motion, numbers what is sent."""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge.cameras import Camera
from edge.link.area import Count, SharedArea
from edge.link.messages import Crashed, Ended, Failed, Message, Opened
from edge.worker.clock import CaptureClock, LagWatch, Stamp
from edge.worker.gate import Look
from edge.worker.grabbed import Grabbed, Reader
from edge.worker.raw import RawFrame
from edge.worker.sampler import Sampler
from edge.worker.slot import NewestFrameSlot, SlotClosedError
from framematch.core.errors import CameraUnavailableError
from framematch.core.redact import redact_url

_US = 1_000_000
_TRACEBACK_MAX = 8_000  # characters, its end: a message is one packet


@dataclass(frozen=True)
class Captured:
    """A numbered frame, as its decoder left it."""

    raw: RawFrame
    look: Look
    stamp: Stamp
    sequence: int


class Looking(Protocol):
    """What is needed of `edge.worker.gate.Gate`."""

    def look(self, raw: RawFrame, at_s: float) -> Look:
        """Look at the frame of time `at_s`."""


class Capture:
    """One run of one camera's source, for a thread of its own: `run` it once, `stop` it from any thread.

    A live source never waits for the slot: a frame that a newer one displaces is counted. A finite one (file, folder)
    is played in its own time, again and again with `repeat`, and waits for the slot, so that nothing is lost.
    """

    def __init__(
        self,
        camera: Camera,
        open_source: Callable[[], Reader],
        *,
        gate: Looking,
        area: SharedArea,
        slot: NewestFrameSlot[Captured],
        say: Callable[[Message], None],
        max_lag_s: float,
        repeat: bool = False,
        clock: CaptureClock | None = None,
    ) -> None:
        self._camera = camera
        self._open_source = open_source
        self._gate = gate
        self._area = area
        self._slot = slot
        self._say = say
        self._repeat = repeat
        self._clock = clock or CaptureClock(area.counts().last_captured_us)
        self._max_lag_s = max_lag_s
        self._lag = LagWatch(max_lag_s)
        self._sampler = Sampler(camera.fps)
        self._opened = False
        self._stop = threading.Event()
        self.last_words: Message = Ended()

    def stop(self) -> None:
        """Let `run` end, at the latest when the read that it is in returns."""
        self._stop.set()
        self._slot.close()

    def run(self) -> None:
        """Play the source, then close the slot; `last_words` says how it ended."""
        try:
            while self._play() and self._repeat and not self._stop.is_set():
                pass
        except CameraUnavailableError as error:
            self.last_words = Failed(error.message)
        except SlotClosedError:
            pass  # stopped
        except Exception as error:  # noqa: BLE001  # handed on: the service logs it
            self.last_words = crash_of(error)
        finally:
            self._slot.close()

    def _play(self) -> int:
        """Read the source to its end or until `stop`, and return how many frames it gave."""
        reader = self._open_source()
        try:
            return self._play_live(reader) if self._camera.source.live else self._play_finite(reader)
        finally:
            reader.close()

    def _play_live(self, reader: Reader) -> int:
        frames = 0
        while not self._stop.is_set() and (grabbed := reader.grab()) is not None:
            frames += 1
            stamp = self._stamp(grabbed.media_s, grabbed.camera_s)
            self._area.set(Count.LAG_US, round(stamp.lag_s * _US))
            if self._lag.behind(stamp):
                raise CameraUnavailableError(f"fell more than {self._max_lag_s:g} s behind; opened again")
            raw = self._sampled(reader, grabbed, stamp.due_s)
            if raw is not None:
                self._take(raw, stamp, stamp.due_s)
        return frames

    def _play_finite(self, reader: Reader) -> int:
        """Frames come when their time has come; so they are stamped after waiting for it."""
        frames = 0
        self._sampler = Sampler(self._camera.fps)
        start_s: float | None = None
        while not self._stop.is_set() and (grabbed := reader.grab()) is not None:
            frames += 1
            at_s = grabbed.media_s or 0.0
            if start_s is None:
                start_s = time.monotonic() - at_s
            raw = self._sampled(reader, grabbed, at_s)
            if raw is None:
                continue
            if self._stop.wait(max(0.0, start_s + at_s - time.monotonic())):
                break
            self._take(raw, self._stamp(), start_s + at_s)
        return frames

    def _stamp(self, media_s: float | None = None, camera_s: float | None = None) -> Stamp:
        stamp = self._clock.stamp(media_s, camera_s)
        self._area.set(Count.LAST_CAPTURED_US, stamp.captured_at_us)
        return stamp

    def _sampled(self, reader: Reader, grabbed: Grabbed, at_s: float) -> RawFrame | None:
        """The picture, when it is due and fit; the next one takes the place of one that is not."""
        self._area.add(Count.SOURCE_FRAMES)
        raw = None if grabbed.damaged else self._picture(reader)
        if not grabbed.damaged:
            self._area.set(Count.LAST_FRAME_NS, time.monotonic_ns())
        if not self._sampler.due(at_s):
            return None
        if raw is None:
            self._leave_out(Count.CORRUPT)
            return None
        self._sampler.accept(at_s)
        return raw

    def _picture(self, reader: Reader) -> RawFrame | None:
        raw = reader.retrieve()
        if raw is not None and not self._opened:
            self._opened = True
            width, height = raw.size
            self._say(Opened(width, height))
        return raw

    def _take(self, raw: RawFrame, stamp: Stamp, at_s: float) -> None:
        """Number the frame, if it is worth sending; from here on it is counted whatever happens."""
        try:
            look = self._gate.look(raw, at_s)
        except ValueError:  # its brightness cannot be had
            self._leave_out(Count.CORRUPT)
            return
        if not look.send:
            self._leave_out(Count.STILL)
            return
        self._area.add(Count.SAMPLED)
        captured = Captured(raw, look, stamp, self._area.add(Count.CAPTURED))
        if not self._camera.source.live:
            self._slot.put(captured)
        elif self._slot.offer(captured) is not None:
            self._area.add(Count.OVERRUN)

    def _leave_out(self, reason: Count) -> None:
        self._area.add(Count.SAMPLED)
        self._area.add(reason)


def crash_of(error: Exception) -> Crashed:
    """What the service is told of an error that nobody expected."""
    trace = redact_url("".join(traceback.format_exception(error)))
    return Crashed(f"{type(error).__name__}: {redact_url(str(error))}"[:1_000], trace[-_TRACEBACK_MAX:])
