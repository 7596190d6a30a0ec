"""Owns the cameras: what each of them consists of, and which of them run."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from edge.cameras import Camera
from edge.metrics import EdgeMetrics
from edge.processes import CameraProcesses
from edge.sinks import FrameSink, FrameSinks
from edge.snapshot import NEVER_CAPTURED, STARTING, STOPPED, StatsSnapshot
from edge.stats import CameraStats
from edge.supervisor import CameraSupervisor
from framematch.core.settings import Settings

log = structlog.get_logger()


@dataclass(eq=False)
class CameraRuntime:
    """Everything that belongs to one camera.

    `task` runs the supervisor; it is None while the camera does not run. `draining`: the camera was removed, and `task`
    waits until its outbox is empty. `reported`: the end of a file or folder has been logged.
    """

    camera: Camera
    stats: CameraStats
    outbox: FrameSink
    supervisor: CameraSupervisor | None = None
    task: asyncio.Task[None] | None = None
    draining: bool = False
    reported: bool = False


class CameraManager:
    """A context in which cameras run; at its end all of their processes have ended.

    `changed` is set when a camera is added or removed, and when a source opens or closes.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: EdgeMetrics,
        sinks: FrameSinks,
        processes: CameraProcesses,
        *,
        repeat: bool = False,
    ) -> None:
        self.changed = asyncio.Event()
        self._settings = settings
        self._metrics = metrics
        self._sinks = sinks
        self._processes = processes
        self._repeat = repeat
        self._runtimes: dict[str, CameraRuntime] = {}
        self._all_stats: dict[str, CameraStats] = {}  # of removed cameras too: counts never go back
        metrics.refresh = self.refresh
        self._group = asyncio.TaskGroup()
        self._task_ended = asyncio.Event()
        self._applying = False  # a camera that is being restarted has not ended
        self._stopped = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        for runtime in self._runtimes.values():
            if runtime.task is not None:
                runtime.task.cancel()
        await self._group.__aexit__(kind, error, trace)

    @property
    def stats(self) -> dict[str, CameraStats]:
        """The statistics of all cameras that are configured, by id."""
        return {runtime.camera.id: runtime.stats for runtime in self._configured()}

    def add(self, cameras: Iterable[Camera]) -> None:
        """Give each camera its statistics and its outbox, without starting it. One that is known keeps them."""
        for camera in cameras:
            runtime = self._runtimes.get(camera.id)
            if runtime is not None and not runtime.draining:
                runtime.camera = camera
                runtime.outbox = self._sinks.outbox(camera.id, runtime.stats, live=camera.source.live)
                continue
            if runtime is not None and runtime.task is not None:
                runtime.task.cancel()  # the outbox that it waits for is used again
            stats = self._stats_of(camera.id)
            outbox = self._sinks.outbox(camera.id, stats, live=camera.source.live)
            self._runtimes[camera.id] = CameraRuntime(camera, stats, outbox)
            self.changed.set()

    async def apply(self, cameras: tuple[Camera, ...]) -> None:
        """Run exactly these cameras: restart those that changed, remove those that are missing, leave the others alone.

        After `stop` it does nothing.
        """
        wanted = {camera.id: camera for camera in cameras}
        outdated = [runtime for runtime in self._configured() if wanted.get(runtime.camera.id) != runtime.camera]
        self._applying = True
        try:
            await _stop(outdated)
            if self._stopped:
                return
            for runtime in outdated:
                if runtime.camera.id not in wanted:
                    self._remove(runtime)
            self.add(cameras)
            for camera in cameras:
                self._start(self._runtimes[camera.id])
        finally:
            self._applying = False
            self._task_ended.set()

    async def all_ended(self) -> None:
        """Return when the sources of all cameras have ended by themselves, as files and folders do."""
        while self._applying or any(runtime.task and not runtime.task.done() for runtime in self._configured()):
            self._task_ended.clear()
            await self._task_ended.wait()

    async def stop(self) -> None:
        """Stop all cameras for good. Returns when their processes have ended; none is started any more."""
        self._stopped = True
        await _stop(list(self._runtimes.values()))

    def refresh(self) -> None:
        """Bring all statistics up to date, those of removed cameras too."""
        for runtime in self._runtimes.values():
            if runtime.supervisor is not None:
                runtime.supervisor.refresh()
            runtime.stats.set_spooled(runtime.outbox.spooled_frames, runtime.outbox.spooled_bytes)

    def report_ends(self) -> dict[str, str]:
        """Log the end of each file and folder that has not been logged, once the outboxes are closed.

        Returns why they are incomplete, by camera. One that was stopped before its end is not.
        """
        self.refresh()
        incomplete = {}
        for runtime in self._configured():
            found = runtime.stats.snapshot()
            if runtime.camera.source.live or found.closed_because in (None, STARTING, STOPPED):
                continue
            if not runtime.reported:
                self._report_end(runtime)
            if why := shortfall(found):
                incomplete[runtime.camera.id] = why
        return incomplete

    def _stats_of(self, camera: str) -> CameraStats:
        if (stats := self._all_stats.get(camera)) is not None:
            stats.add_again()
            return stats
        stats = self._all_stats[camera] = CameraStats(camera, self._metrics.of(camera), self.changed.set)
        return stats

    def _configured(self) -> list[CameraRuntime]:
        return [runtime for runtime in self._runtimes.values() if not runtime.draining]

    def _start(self, runtime: CameraRuntime) -> None:
        if runtime.task is not None:
            return
        camera = runtime.camera
        runtime.supervisor = CameraSupervisor(
            camera,
            self._settings.edge,
            runtime.stats,
            self._processes,
            runtime.outbox,
            jpeg_bytes_max=self._settings.kafka.max_message_bytes,
            repeat=self._repeat,
            previous=runtime.supervisor.counts if runtime.supervisor else None,
            sample_ratio=self._settings.tracing.sample_ratio,
        )
        runtime.reported = False
        runtime.task = self._group.create_task(self._run(runtime, runtime.supervisor), name=f"camera-{camera.id}")
        runtime.task.add_done_callback(lambda _: self._task_ended.set())

    async def _run(self, runtime: CameraRuntime, supervisor: CameraSupervisor) -> None:
        """Run a camera. A file or folder has ended when all its frames are sent."""
        await supervisor.run()
        await runtime.outbox.drained()
        self.refresh()
        self._report_end(runtime)

    def _report_end(self, runtime: CameraRuntime) -> None:
        runtime.reported = True
        found = runtime.stats.snapshot()
        why = shortfall(found)
        (log.warning if why else log.info)(
            "camera_ended",
            camera=runtime.camera.id,
            captured=found.captured,
            sent=found.published,
            dropped=found.drops,
            spooled=found.spooled_frames,
            incomplete=why,
        )

    def _remove(self, runtime: CameraRuntime) -> None:
        self._metrics.remove_source_gauges(runtime.camera.id)
        runtime.draining = True
        runtime.task = self._group.create_task(self._drain(runtime), name=f"drain-{runtime.camera.id}")
        self.changed.set()

    async def _drain(self, runtime: CameraRuntime) -> None:
        """Forget a removed camera when its outbox is empty."""
        await runtime.outbox.drained()
        # Nothing is awaited before the sink is removed: a camera with this id that is added later gets a new one.
        camera = runtime.camera.id
        del self._runtimes[camera]
        self._metrics.remove_frame_gauges(camera)
        await self._sinks.remove(camera)


def shortfall(found: StatsSnapshot) -> str | None:
    """Why a file or folder that has ended was not sent completely; None when it was.

    Frames that were damaged in the source, and so never captured, are counted but no shortfall.
    """
    if found.failed:
        return found.closed_because
    if not found.captured:
        return "it gave no frame"
    lost = [f"{count} {reason}" for reason, count in sorted(found.drops.items()) if count and reason != NEVER_CAPTURED]
    if lost:
        return f"frames dropped: {', '.join(lost)}"
    if found.spooled_frames:
        return f"{found.spooled_frames} frames are on disk for the next start"
    return None


async def _stop(runtimes: list[CameraRuntime]) -> None:
    tasks = [runtime.task for runtime in runtimes if runtime.task is not None]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for runtime in runtimes:
        runtime.task = None
