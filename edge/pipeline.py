"""The edge service: the way of a frame from its camera to Kafka, in the order of the steps.

source -> sampler -> motion gate -> newest-frame slot -> regions, scale, JPEG -> outbox -> topic .frames
`------------------------ the camera's own process -----------------------'      event loop
                                                                          (edge/keeper.py)

Beside it the topic .status, and the settings file that may change which cameras there are.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import structlog

from edge.cameras import Camera, cameras_from, check_files
from edge.crew import Crew
from edge.keeper import Keeper
from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics
from edge.outbox.dispatcher import Dispatcher
from edge.outbox.outbox import Outbox
from edge.processes import CameraProcesses
from edge.reload import Accepted, Refused, SettingsWatch
from edge.status import StatusReporter
from framematch.core.health import Health, serve_http
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.lifecycle import first_of
from framematch.core.metrics import new_registry
from framematch.core.settings import Settings
from framematch.core.tracing import open_tracer

log = structlog.get_logger()

_LOOK_S = 1.0
_CONNECT_S = 1.0
_KAFKA_SILENT_S = 10.0


async def run_edge(
    settings: Settings, stop: asyncio.Event, *, repeat: bool = False, watch: SettingsWatch | None = None
) -> None:
    """Publish the frames of all cameras until `stop` is set, or every source has ended (files and folders do).

    Then what Kafka does not take in time is left on disk for the next start, and a last status is sent. `repeat` plays
    files and folders again and again. `watch` tells of settings that changed meanwhile.

    Raises:
        UsageError: no cameras, or a source that cannot be right.
        KafkaUnavailableError: no broker answers and there are files and folders alone, which can be played later.
        PrerequisiteError: an endpoint for traces is set, and the extra `tracing` is not installed.
    """
    cameras = cameras_from(settings.edge)
    await asyncio.to_thread(check_files, cameras, settings.edge)
    if not any(camera.source.live for camera in cameras):
        await ensure_topics(settings.kafka)
    registry = new_registry()
    health = Health("kafka")
    async with AsyncExitStack() as stack:
        if watch is not None:
            stack.enter_context(watch)
        tracer = stack.enter_context(open_tracer(settings.tracing, "edge"))
        await stack.enter_async_context(serve_http(health, registry, settings.http))
        processes = stack.enter_context(CameraProcesses())
        dispatcher = Dispatcher(settings.kafka, settings.edge, tracer)
        stack.push_async_callback(dispatcher.close)
        service = _Service(settings, EdgeMetrics(registry), health, dispatcher, processes, repeat=repeat)
        await service.run(cameras, stop, watch)


@dataclass(frozen=True)
class _Line:
    """What belongs to one camera; no keeper before it is started."""

    meter: CameraMeter
    outbox: Outbox
    keeper: Keeper | None


class _Service:
    """The cameras, and beside them what connects, reports and watches."""

    def __init__(
        self,
        settings: Settings,
        metrics: EdgeMetrics,
        health: Health,
        dispatcher: Dispatcher,
        processes: CameraProcesses,
        *,
        repeat: bool,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._dispatcher = dispatcher
        self._processes = processes
        self._repeat = repeat
        self._changed = asyncio.Event()
        self._lines: dict[str, _Line] = {}
        topic = Topics(settings.kafka.topic_prefix).status
        self._reporter = StatusReporter(dispatcher.producer, topic, [], self._changed, settings.edge.status_interval_s)

    async def run(self, cameras: tuple[Camera, ...], stop: asyncio.Event, watch: SettingsWatch | None) -> None:
        """Until `stop` is set or all cameras have ended; nothing runs any more then."""
        for camera in cameras:
            self._line(camera)  # before the dispatcher runs: it takes frames on disk for those of cameras that are gone
        async with asyncio.TaskGroup() as group, Crew(self._hire, self._dismiss) as crew:
            beside = [group.create_task(self._dispatcher.run()), group.create_task(self._show())]
            # With a moment for Kafka, so that the first frames do not take the way by the disk.
            await first_of(stop.wait(), self._dispatcher.producer.wait_connected(), asyncio.sleep(_CONNECT_S))
            if not stop.is_set():
                await crew.apply(cameras)
            beside += [group.create_task(self._reporter.run()), group.create_task(self._reload(crew, watch))]
            await first_of(stop.wait(), self._played(crew))
            await crew.stop()
            await self._dispatcher.finish(self._settings.shutdown_deadline_s)
            for task in beside:
                task.cancel()
        self._show_spools()
        if self._dispatcher.connected:
            await self._reporter.report_all()
        log.info("edge_finished", cameras=len(self._lines))

    def _line(self, camera: Camera) -> _Line:
        """The camera's account and outbox. One that changed keeps them."""
        line = self._lines.get(camera.id)
        meter = line.meter if line else CameraMeter(camera.id, self._metrics.of(camera.id), self._changed.set)
        if line is None:
            self._reporter.add(meter)
        outbox = self._dispatcher.outbox(camera.id, meter, live=camera.source.live)
        self._lines[camera.id] = _Line(meter, outbox, line.keeper if line else None)
        return self._lines[camera.id]

    def _hire(self, camera: Camera) -> tuple[Keeper, CameraMeter]:
        """What a camera needs to begin. One that changed goes on counting."""
        line = self._line(camera)
        keeper = Keeper(
            camera,
            self._settings.edge,
            line.meter,
            self._processes,
            line.outbox.put,
            jpeg_bytes_max=self._settings.kafka.max_message_bytes,
            repeat=self._repeat,
            after=line.keeper.counts if line.keeper else None,
            sample_ratio=self._settings.tracing.sample_ratio,
        )
        self._lines[camera.id] = replace(line, keeper=keeper)
        return keeper, line.meter

    def _dismiss(self, meter: CameraMeter) -> None:
        """A camera was removed. Its outbox still sends what it holds."""
        del self._lines[meter.camera]
        self._metrics.forget(meter.camera)
        self._reporter.remove(meter.camera)

    async def _played(self, crew: Crew) -> None:
        """Return when every source has ended and Kafka has every frame."""
        await crew.quiet()
        await self._dispatcher.drained()

    async def _reload(self, crew: Crew, watch: SettingsWatch | None) -> None:
        """Bring accepted changes of the settings into force; endless."""
        while watch is not None:
            match found := await watch.next():
                case Refused():
                    self._metrics.settings_valid.set(0)
                    self._reporter.settings_refused(found.reason)
                case Accepted():
                    self._metrics.settings_valid.set(1)
                    self._reporter.settings_refused(None)
                    await crew.apply(found.cameras)

    async def _show(self) -> None:
        """Keep up to date what is shown of Kafka and of the spools; endless."""
        while True:
            if self._dispatcher.stalled_s > _KAFKA_SILENT_S:
                self._health.set_not_ready("kafka", f"no acknowledgement for {self._dispatcher.stalled_s:.0f} s")
            elif self._dispatcher.connected:
                self._health.set_ready("kafka")
            else:
                self._health.set_not_ready("kafka", "not connected")
            self._show_spools()
            await asyncio.sleep(_LOOK_S)

    def _show_spools(self) -> None:
        for line in self._lines.values():
            line.meter.spooled(line.outbox.spooled_frames, line.outbox.spooled_bytes)
