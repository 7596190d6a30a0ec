"""Keeps one camera going: starts its process, takes its frames, kills it when it hangs, and starts it again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from typing import Any, TypeVar

import msgspec
import structlog

from edge.cameras import Camera
from edge.link.area import Counts, SharedArea
from edge.link.ends import ServiceEnd
from edge.link.messages import Crashed, Ended, Failed, FrameReady, Message, Opened
from edge.meter import CameraMeter
from edge.outgoing import Outgoing
from edge.processes import CameraProcesses
from edge.worker.run import Assignment
from framematch.core.backoff import Backoff
from framematch.core.errors import CameraUnavailableError
from framematch.core.frames import Frame
from framematch.core.settings import EdgeSettings
from framematch.core.tracing import TraceContext

log = structlog.get_logger()

_Result = TypeVar("_Result")
Sink = Callable[[Outgoing], Awaitable[None]]

_CLOSE_S = 1.0  # for a process to take leave of its camera, before it is killed
_LOOK_S = 0.5
_NS_PER_S = 1e9


class Keeper:
    """The one owner of a camera's processes. Each plays the source once; this decides when there is a next one.

    A live source is tried again for ever, after a random delay that grows (`core.backoff`) and starts from the first
    again once it ran for `stable_after_s`. A process that shows no new frame of a live source for `watchdog_s`, or is
    killed, counts as a failed one. A finite source (file, folder) is played once, or by its process again and again
    with `repeat`. `after` are the counts of the keeper before, when the camera changed: numbers and times go on.
    Each frame begins a trace, and `sample_ratio` of them are sampled.
    """

    def __init__(
        self,
        camera: Camera,
        settings: EdgeSettings,
        meter: CameraMeter,
        processes: CameraProcesses,
        sink: Sink,
        *,
        jpeg_bytes_max: int,
        repeat: bool = False,
        after: Counts | None = None,
        sample_ratio: float = 1.0,
    ) -> None:
        self._camera = camera
        self._settings = settings
        self._meter = meter
        self._processes = processes
        self._sink = sink
        self._jpeg_bytes_max = jpeg_bytes_max
        self._sample_ratio = sample_ratio
        self._assignment = Assignment(
            camera=camera,
            open_timeout_s=settings.open_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            max_lag_s=settings.max_lag_s,
            repeat=repeat,
        )
        self._counts = after or Counts()
        self._accepted = self._counts.handed_on
        self._lost = 0

    @property
    def counts(self) -> Counts:
        """All that the camera's processes have counted; final once `run` has ended."""
        return self._counts

    async def run(self) -> None:
        """Give the camera's frames to the sink, until a finite source has ended or the task is cancelled.

        Nothing of it is left then: its process has ended, and each frame that it numbered was accepted by the sink or
        counted as dropped.
        """
        area = SharedArea.create(self._jpeg_bytes_max, self._counts)
        try:
            await self._play_again_and_again(area)
        except asyncio.CancelledError:
            self._meter.closed("stopped")
            raise
        finally:
            area.close()

    async def _play_again_and_again(self, area: SharedArea) -> None:
        backoff = Backoff(self._settings.backoff_initial_s, self._settings.backoff_max_s)
        while True:
            began_s = time.monotonic()
            try:
                await self._play(area)
            except CameraUnavailableError as error:
                if not self._camera.source.live:
                    self._report_failure(error.message)
                    return
                if self._counts.last_frame_ns / _NS_PER_S - began_s >= self._settings.stable_after_s:
                    backoff.reset()
                delay_s = backoff.next_delay_s()
                self._report_failure(error.message, retry_in_s=round(delay_s, 3))
                await asyncio.sleep(delay_s)
            else:
                self._meter.closed("ended")
                log.info("camera_ended", camera=self._camera.id, frames=area.counts().captured)
                return

    async def _play(self, area: SharedArea) -> None:
        """One process from its start to its end.

        Raises:
            CameraUnavailableError: the source failed, or the process hung or died.
        """
        with ServiceEnd(area) as line:
            process = await self._start(line, area)
            last_words: Message | None = None
            watch = asyncio.ensure_future(self._watch(area, process))
            try:
                last_words = await self._listen(line)
            finally:
                watch.cancel()
                died_of = await _to_its_end(self._end(line, area, process))
            self._judge(last_words, hung=not watch.cancelled() and watch.result(), died_of=died_of)

    async def _start(self, line: ServiceEnd, area: SharedArea) -> ForkServerProcess:
        try:
            process = await self._processes.start(line.far_end, area, self._assignment)
        except (OSError, EOFError) as error:  # no process, memory or descriptor is left, or what forks them was killed
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise CameraUnavailableError(f"its process cannot be started: {reason}") from error
        line.far_end.close()
        return process

    async def _end(self, line: ServiceEnd, area: SharedArea, process: ForkServerProcess) -> str | None:
        """Let the process end or kill it, account for what it held, and return the signal that had ended it, if any."""
        closed = await _leave(line)
        died_of = await self._processes.end(process, wait_s=_CLOSE_S if closed else 0.0)
        self._settle(self._count(area), "process_died" if died_of else "stopped")
        return died_of

    async def _listen(self, line: ServiceEnd) -> Message | None:
        """Take frames, one after the other, until the process says its last words or is gone (None)."""
        line.ask()
        while True:
            match message := await line.receive():
                case Opened():
                    self._meter.opened((message.width, message.height))
                    log.info("camera_opened", camera=self._camera.id, source=str(self._camera.source))
                case FrameReady():
                    await self._sink(self._outgoing(message, line.jpeg(message)))
                    self._accepted += 1
                    self._meter.timed_by(message.clock)
                    line.ask()
                case _:
                    return message

    async def _watch(self, area: SharedArea, process: ForkServerProcess) -> bool:
        """Keep the account fresh; kill the process and return True when a live source has nothing new for too long."""
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            counts = self._count(area)
            idle_s = time.monotonic() - max(began_s, counts.last_frame_ns / _NS_PER_S)
            if self._camera.source.live and idle_s > self._settings.watchdog_s:
                process.kill()
                return True

    def _judge(self, last_words: Message | None, *, hung: bool, died_of: str | None) -> None:
        match last_words:
            case Ended():
                return
            case Failed():
                raise CameraUnavailableError(last_words.reason)
            case Crashed():
                log.error("camera_process_crashed", camera=self._camera.id, **msgspec.structs.asdict(last_words))
                raise CameraUnavailableError(f"a defect in its process: {last_words.error}")
            case _ if hung:
                raise CameraUnavailableError(
                    f"no new frame for {self._settings.watchdog_s:g} s: its process was killed"
                )
            case _:
                raise CameraUnavailableError(f"its process died ({died_of or 'without a word'})")

    def _count(self, area: SharedArea) -> Counts:
        before, self._counts = self._counts, area.counts()
        self._meter.absorb(before, self._counts)
        return self._counts

    def _settle(self, counts: Counts, reason: str) -> None:
        """Count what went down with the process."""
        if lost := counts.handed_on - self._accepted - self._lost:
            self._lost += lost
            self._meter.dropped("capture", reason, lost)

    def _outgoing(self, message: FrameReady, jpeg: bytes) -> Outgoing:
        frame = Frame(
            camera=self._camera.id,
            captured_at_us=message.captured_at_us,
            sequence=message.sequence,
            regions=message.regions,
            traceparent=str(TraceContext.new(self._sample_ratio)),
            grabbed_at_us=message.grabbed_at_us,
            clock=message.clock,
        )
        return Outgoing(frame, jpeg, message.grabbed_s, message.encoded_s)

    def _report_failure(self, reason: str, **fields: float) -> None:
        self._meter.closed(reason)
        log.warning("camera_failed", camera=self._camera.id, source=str(self._camera.source), reason=reason, **fields)


async def _to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await `work` however often we are cancelled meanwhile (a change of settings, then the end), and only then be."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


async def _leave(line: ServiceEnd) -> bool:
    """Let the process take leave of its camera, and say whether it did. A frame that still comes is not taken."""
    line.dismiss()
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            while await line.receive() is not None:
                pass
            return True
    return False
