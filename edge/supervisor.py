"""Supervises one camera: starts its process, takes its frames, kills it when it hangs, and starts the next."""

import asyncio
import time
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from typing import TypeVar

import msgspec
import structlog

from edge.cameras import Camera
from edge.link.channel import ServiceChannel
from edge.link.messages import Crashed, DecoderChanged, Ended, Failed, FrameReady, Message, Opened, PictureLeftOut
from edge.link.shared_buffer import Counts, SharedBuffer
from edge.processes import CameraProcesses
from edge.sinks import FrameSink, Outgoing
from edge.snapshot import ENDED, STOPPED
from edge.stats import CameraStats
from edge.worker.run import WorkerConfig
from framematch.core.backoff import Backoff, EarlyRetries
from framematch.core.errors import CameraUnavailableError
from framematch.core.frames import Frame
from framematch.core.settings import EdgeSettings
from framematch.core.tracing import TraceContext
from framematch.core.units import NS_PER_S

log = structlog.get_logger()

_Result = TypeVar("_Result")

_CLOSE_S = 1.0  # for a process to close its source, before it is killed
_POLL_S = 0.5
# A camera or switch that restarts is back within a minute; whatever is away for longer need not be asked so often.
_EARLY_RETRIES = EarlyRetries(maximum_s=5.0, for_s=60.0)


class CameraSupervisor:
    """Owns a camera's processes. Each plays the source once; the supervisor decides when the next one starts.

    A live source is retried for ever, after a random delay that grows (`core.backoff`) and is reset once the source
    ran for `stable_after_s`. A process that delivers no usable frame of a live source for `watchdog_s`, or is killed,
    counts as failed. A finite source (file, folder) is read once; with `repeat` its process reads it in a loop.
    `previous` are the counts of the supervisor before, when the camera's settings changed: numbers and times go on.
    Each frame starts a trace; `sample_ratio` of them are sampled. `counts` are those of all processes so far; they are
    final once `run` has ended.
    """

    def __init__(
        self,
        camera: Camera,
        settings: EdgeSettings,
        stats: CameraStats,
        processes: CameraProcesses,
        sink: FrameSink,
        *,
        jpeg_bytes_max: int,
        repeat: bool = False,
        previous: Counts | None = None,
        sample_ratio: float = 1.0,
    ) -> None:
        self._camera = camera
        self._settings = settings
        self._stats = stats
        self._processes = processes
        self._sink = sink
        self._jpeg_bytes_max = jpeg_bytes_max
        self._sample_ratio = sample_ratio
        self._config = WorkerConfig(
            camera=camera,
            open_timeout_s=camera.open_timeout_s or settings.open_timeout_s,
            read_timeout_s=camera.read_timeout_s or settings.read_timeout_s,
            max_lag_s=settings.max_lag_s,
            repeat=repeat,
        )
        self._watchdog_s = camera.watchdog_s or settings.watchdog_s
        self.counts = previous or Counts()
        self._buffer: SharedBuffer | None = None
        self._accepted = self.counts.forwarded
        self._lost = 0

    async def run(self) -> None:
        """Put the camera's frames into the sink, until a finite source has ended or the task is cancelled.

        Then the last process has ended, and each numbered frame was accepted by the sink or counted as dropped.
        """
        buffer = self._buffer = SharedBuffer.create(self._jpeg_bytes_max, self.counts)
        try:
            await self._run_processes(buffer)
        except asyncio.CancelledError:
            self._stats.closed(STOPPED)
            raise
        finally:
            self._buffer = None
            buffer.close()

    def refresh(self) -> None:
        """Bring the statistics up to date with what the camera's process has counted."""
        if self._buffer is not None:
            self._update_counts(self._buffer)

    async def _run_processes(self, buffer: SharedBuffer) -> None:
        backoff = Backoff(self._settings.backoff_initial_s, self._settings.backoff_max_s, early=_EARLY_RETRIES)
        while True:
            started_s = time.monotonic()
            try:
                await self._run_process(buffer)
            except CameraUnavailableError as error:
                if not self._camera.source.live:
                    self._report_failure(error.message)
                    return
                if self.counts.last_frame_ns / NS_PER_S - started_s >= self._settings.stable_after_s:
                    backoff.reset()
                delay_s = backoff.next_delay_s()
                self._report_failure(error.message, retry_in_s=round(delay_s, 3))
                await asyncio.sleep(delay_s)
            else:
                self._stats.closed(ENDED)
                return

    async def _run_process(self, buffer: SharedBuffer) -> None:
        """One process from its start to its end; CameraUnavailableError when it or its source failed."""
        with ServiceChannel(buffer) as channel:
            process = await self._start(channel, buffer)
            last_message: Message | None = None
            watchdog = asyncio.ensure_future(self._watch(buffer, process))
            try:
                last_message = await self._receive_frames(channel)
            finally:
                watchdog.cancel()
                died_of = await _uninterrupted(asyncio.ensure_future(self._end(channel, buffer, process)))
            hung = not watchdog.cancelled() and watchdog.result()
            self._raise_failure(last_message, hung=hung, died_of=died_of)

    async def _start(self, channel: ServiceChannel, buffer: SharedBuffer) -> ForkServerProcess:
        try:
            process = await self._processes.start(channel.peer, buffer, self._config)
        except (OSError, EOFError) as error:  # out of processes, memory or descriptors, or the forkserver was killed
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise CameraUnavailableError(f"its process cannot be started: {reason}") from error
        channel.peer.close()
        return process

    async def _end(self, channel: ServiceChannel, buffer: SharedBuffer, process: ForkServerProcess) -> str | None:
        """Let the process end or kill it, and count its lost frames. Returns the signal that had killed it, if any."""
        closed = await _shut_down(channel)
        died_of = await self._processes.end(process, wait_s=_CLOSE_S if closed else 0.0)
        self._count_lost(self._update_counts(buffer), "process_died" if died_of else "stopped")
        return died_of

    async def _receive_frames(self, channel: ServiceChannel) -> Message | None:
        """Put frames into the sink until the process says how its source ended, or is gone (None)."""
        channel.request()
        while True:
            match message := await channel.receive():
                case Opened():
                    self._stats.opened((message.width, message.height))
                    self._set_decoder(message.decoder, message.decoder_reason)
                    log.info("camera_opened", camera=self._camera.id, source=str(self._camera.source))
                case DecoderChanged():
                    self._set_decoder(message.decoder, message.reason)
                case PictureLeftOut():
                    log.warning("picture_left_out", camera=self._camera.id, reason=message.reason)
                case FrameReady():
                    await self._sink.put(self._outgoing(message, channel.jpeg(message)))
                    self._accepted += 1
                    self._stats.set_clock(message.clock)
                    channel.request()
                case _:
                    return message

    def _set_decoder(self, decoder: str, reason: str | None) -> None:
        """Show what decodes the video; log it if the settings leave that open, or wish something else."""
        wished = self._camera.decode
        if not self._stats.set_decoder(decoder, reason) or wished == "software":
            return
        if wished not in (decoder, "auto"):
            log.warning("decoder_unavailable", camera=self._camera.id, wished=wished, decoder=decoder, reason=reason)
        else:
            log.info("decoder_chosen", camera=self._camera.id, decoder=decoder, reason=reason)

    async def _watch(self, buffer: SharedBuffer, process: ForkServerProcess) -> bool:
        """Update the statistics; kill the process and return True when a live source delivers nothing for too long."""
        started_s = time.monotonic()
        while True:
            await asyncio.sleep(_POLL_S)
            counts = self._update_counts(buffer)
            last_ns = max(counts.last_frame_ns, counts.last_skipped_ns)
            idle_s = time.monotonic() - max(started_s, last_ns / NS_PER_S)
            if self._camera.source.live and idle_s > self._watchdog_s:
                process.kill()
                return True

    def _raise_failure(self, last_message: Message | None, *, hung: bool, died_of: str | None) -> None:
        match last_message:
            case Ended():
                return
            case Failed():
                raise CameraUnavailableError(last_message.reason)
            case Crashed():
                log.error("camera_process_crashed", camera=self._camera.id, **msgspec.structs.asdict(last_message))
                raise CameraUnavailableError(f"a defect in its process: {last_message.error}")
            case _ if hung:
                raise CameraUnavailableError(f"no new frame for {self._watchdog_s:g} s: its process was killed")
            case _:
                raise CameraUnavailableError(f"its process died ({died_of or 'no signal'})")

    def _update_counts(self, buffer: SharedBuffer) -> Counts:
        before, self.counts = self.counts, buffer.counts()
        self._stats.add_counts(before, self.counts)
        return self.counts

    def _count_lost(self, counts: Counts, reason: str) -> None:
        """Count the frames that were in the process when it ended."""
        if lost := counts.forwarded - self._accepted - self._lost:
            self._lost += lost
            self._stats.dropped("capture", reason, lost)

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
        self._stats.closed(reason)
        log.warning("camera_failed", camera=self._camera.id, source=str(self._camera.source), reason=reason, **fields)


async def _uninterrupted(task: asyncio.Task[_Result]) -> _Result:
    """Wait for the end of `task` even when cancelled, once or repeatedly, and raise the cancellation only then."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


async def _shut_down(channel: ServiceChannel) -> bool:
    """Let the process close its source, and return whether it did in time. Frames that still arrive are dropped."""
    channel.shut_down()
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            while await channel.receive() is not None:
                pass
            return True
    return False
