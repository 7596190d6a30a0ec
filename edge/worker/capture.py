"""Fills the slot of one camera from a thread of its own; one loop there owns opening, retrying and stopping."""

import contextvars
import random
import threading
import time
from dataclasses import dataclass

import structlog

from edge.backoff import Backoff
from edge.cameras import Camera
from edge.meter import CameraMeter
from edge.worker.encode import Picture
from edge.worker.readers import Reader, open_reader
from edge.worker.sampler import Sampler
from edge.worker.slot import NewestFrameSlot, SlotClosedError
from framematch.core.errors import CameraUnavailableError
from framematch.core.frames import Frame
from framematch.core.settings import EdgeSettings
from framematch.core.timestamps import now_us

log = structlog.get_logger()


@dataclass(frozen=True)
class CapturedFrame:
    """A sampled frame with its pixels, [height, width, 3] BGR; `captured_s` is the monotonic clock's time."""

    frame: Frame
    picture: Picture
    captured_s: float


class Capture:
    """One camera's capture thread: `start` it once, `stop` it from any thread, and read its slot until that ends.

    A live source is tried again for ever, with backoff, and never waits for the slot. A finite one (file, folder) is
    played once, or again and again with `repeat`, in its own time, and waits for the slot. The slot is closed when
    nothing more comes: a finite source has ended, or `stop` was called.
    """

    def __init__(
        self,
        camera: Camera,
        slot: NewestFrameSlot[CapturedFrame],
        meter: CameraMeter,
        settings: EdgeSettings,
        *,
        repeat: bool = False,
    ) -> None:
        self._camera = camera
        self._slot = slot
        self._meter = meter
        self._settings = settings
        self._repeat = repeat
        self._backoff = Backoff(settings.backoff_initial_s, settings.backoff_max_s)
        self._sequence = 0
        self._stop = threading.Event()
        # A daemon, so that a read which hangs inside a driver cannot keep the process from ending.
        # In the caller's context, so that its log lines carry the same fields.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=f"capture-{camera.id}", daemon=True)

    def start(self) -> None:
        """Begin to capture."""
        self._thread.start()

    def stop(self) -> None:
        """Close the slot now; the thread ends when the read it is in returns."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._meter.closed("stopped", for_good=True)
        self._slot.close()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, `timeout_s` at most."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            if self._camera.source.live:
                self._play_with_retries()
            else:
                self._play_to_the_end()
            self._slot.close()
        except BaseException as error:  # noqa: BLE001  # handed on: the slot's reader raises it in the event loop
            self._slot.close(error)

    def _play_with_retries(self) -> None:
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                self._play()
            except CameraUnavailableError as error:
                if time.monotonic() - began_s >= self._settings.stable_after_s:
                    self._backoff.reset()
                if not self._stop.is_set():
                    delay_s = self._backoff.next_delay_s()
                    self._report_failure(error.message, retry_in_s=round(delay_s, 3))
                    self._stop.wait(delay_s)

    def _play_to_the_end(self) -> None:
        try:
            while self._play() and self._repeat and not self._stop.is_set():
                log.debug("camera_repeated", camera=self._camera.id)
        except CameraUnavailableError as error:
            self._report_failure(error.message, for_good=True)
            return
        if not self._stop.is_set():
            self._meter.closed("ended", for_good=True)
            log.info("camera_ended", camera=self._camera.id, frames=self._sequence)

    def _play(self) -> int:
        """Read the source until its end or `stop`, and return how many frames were taken."""
        reader = open_reader(
            self._camera.source,
            fps=self._camera.fps,
            open_timeout_s=self._settings.open_timeout_s,
            read_timeout_s=self._settings.read_timeout_s,
        )
        try:
            return self._read(reader)
        finally:
            reader.close()

    def _read(self, reader: Reader) -> int:
        """A live source's frames are due when they come; a finite one is paced by the times of its frames."""
        sampler = Sampler(self._camera.fps)
        before = self._sequence
        started_s: float | None = None
        while (at_s := reader.grab()) is not None and not self._stop.is_set():
            if started_s is None:
                started_s = time.monotonic() - at_s
                self._report_open()
            self._meter.delivered()
            if not sampler.accept(at_s):
                continue
            if not self._camera.source.live and self._stop.wait(max(0.0, started_s + at_s - time.monotonic())):
                break
            self._take(reader)
        return self._sequence - before

    def _take(self, reader: Reader) -> None:
        """Number the grabbed frame and put it into the slot; from here on it is counted whatever happens."""
        captured_at_us, captured_s = now_us(), time.monotonic()
        frame = Frame(self._camera.id, captured_at_us, self._sequence, traceparent=new_traceparent())
        self._sequence += 1
        self._meter.captured()
        picture = reader.retrieve()
        if picture is None:
            self._meter.dropped("capture", "unreadable")
            return
        captured = CapturedFrame(frame, picture, captured_s)
        try:
            if not self._camera.source.live:
                self._slot.put(captured)
            elif self._slot.offer(captured) is not None:
                self._meter.dropped("slot", "overrun")
        except SlotClosedError:
            self._meter.dropped("slot", "stopped")

    def _report_open(self) -> None:
        if self._meter.read().closed_because is not None:
            self._meter.opened()
            log.info("camera_opened", camera=self._camera.id, source=str(self._camera.source))

    def _report_failure(self, reason: str, *, for_good: bool = False, **fields: float) -> None:
        self._meter.closed(reason, for_good=for_good)
        log.warning("camera_failed", camera=self._camera.id, source=str(self._camera.source), reason=reason, **fields)


def new_traceparent() -> str:
    """A random W3C trace context with the sampled flag set (https://www.w3.org/TR/trace-context/)."""
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01"  # an id, no secret
