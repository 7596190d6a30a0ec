"""The edge service: the data flow of a frame from its camera to Kafka, step by step.

source -> sampler -> motion gate -> newest-frame slot -> regions, scaling, JPEG -> outbox -> topic .frames
`------------------ the camera's own process (edge/worker) -------------------'      event loop
                  one supervisor per camera (edge/supervisor.py)             (edge/outbox)

Beside it run the reports to the topic .status, and the watch over the settings, which may change the set of cameras.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import structlog

from edge.cameras import Camera, cameras_from
from edge.follow import edge_name
from edge.limits import check_limits, raise_open_files
from edge.manager import CameraManager
from edge.metrics import EdgeMetrics
from edge.outbox.dispatcher import Dispatcher
from edge.processes import CameraProcesses
from edge.reload import Accepted, Refused, SettingsWatch
from edge.status import StatusReporter
from edge.worker.readers import check_files
from framematch.core.errors import IncompleteError
from framematch.core.health import Health, new_registry, serve_http
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.lifecycle import first_of
from framematch.core.settings import Settings
from framematch.core.tracing import open_tracer

log = structlog.get_logger()

_UPDATE_S = 1.0
_CONNECT_S = 1.0
_KAFKA_SILENT_S = 10.0


async def run_edge(
    settings: Settings, stop: asyncio.Event, *, repeat: bool = False, watch: SettingsWatch | None = None
) -> None:
    """Publish the frames of all cameras until `stop` is set, or every source has ended (files and folders do).

    Frames that Kafka does not acknowledge in time then stay on disk for the next start, and a last status is sent.
    `repeat` plays files and folders in a loop. `watch` reports settings that change meanwhile, and the cameras that the
    edge follows; with those it never ends by itself.

    Raises:
        UsageError: no cameras, a source that cannot be right, or more cameras than the system allows.
        KafkaUnavailableError: no broker answers, and all sources are files and folders, which can be read later.
        IncompleteError: a file or folder failed, gave no frame, or not all its frames were sent.
        PrerequisiteError: an endpoint for traces is set, and the extra `tracing` is not installed.
    """
    cameras = watch.cameras if watch is not None else cameras_from(settings.edge)
    followed = watch.followed if watch is not None else None
    raise_open_files()
    check_limits(len(cameras))
    await asyncio.to_thread(check_files, cameras)
    if followed is None and not any(camera.source.live for camera in cameras):
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
        metrics = EdgeMetrics(registry)
        manager = CameraManager(settings, metrics, dispatcher, processes, repeat=repeat)
        await EdgeService(settings, metrics, health, dispatcher, manager).run(cameras, stop, watch)


class EdgeService:
    """Runs the cameras, the connection to Kafka, the reports and the reloading of settings, and stops them in order."""

    def __init__(
        self, settings: Settings, metrics: EdgeMetrics, health: Health, dispatcher: Dispatcher, manager: CameraManager
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._dispatcher = dispatcher
        self._manager = manager
        topic = Topics(settings.kafka.topic_prefix).status
        name = edge_name(settings.edge)
        self._reporter = StatusReporter(dispatcher.producer, topic, manager, settings.edge.status_interval_s, edge=name)

    async def run(self, cameras: tuple[Camera, ...], stop: asyncio.Event, watch: SettingsWatch | None) -> None:
        """Run until `stop` is set or all cameras have ended; nothing is running any more then."""
        self._manager.add(cameras)  # before the dispatcher, which takes over the spools of all other cameras
        async with asyncio.TaskGroup() as group, self._manager:
            background = [group.create_task(self._dispatcher.run()), group.create_task(self._update_health())]
            # A moment for Kafka to connect, so that the first frames need not be spooled.
            await first_of(stop.wait(), self._dispatcher.producer.wait_connected(), asyncio.sleep(_CONNECT_S))
            if not stop.is_set():
                await self._manager.apply(cameras)
            followed = watch.followed if watch is not None else None
            if watch is not None:
                self._reporter.set_wanted(watch.wanted)
            if followed is not None:
                background.append(group.create_task(followed.run()))
            background.append(group.create_task(self._reporter.run()))
            reload = group.create_task(self._reload(watch))
            await (first_of(stop.wait(), self._finished()) if followed is None else stop.wait())
            reload.cancel()  # first, so that no camera is started again
            await asyncio.wait([reload])
            await self._manager.stop()
            await self._dispatcher.finish(self._settings.shutdown_deadline_s)
            for task in background:
                task.cancel()
        incomplete = self._manager.report_ends()
        if self._dispatcher.producer.connected:
            await self._reporter.report_all()
        self._log_summary()
        if incomplete:
            raise IncompleteError(
                "not all files and folders were sent completely: "
                + "; ".join(f"{camera}: {why}" for camera, why in incomplete.items()),
                hint="See camera_failed and camera_ended in the log",
            )

    async def _finished(self) -> None:
        """Return when every source has ended and Kafka has every frame."""
        await self._manager.all_ended()
        await self._dispatcher.drained()

    async def _reload(self, watch: SettingsWatch | None) -> None:
        """Apply changed settings; endless."""
        while watch is not None:
            match found := await watch.next():
                case Refused():
                    self._metrics.settings_valid.set(0)
                    self._reporter.set_settings_error(found.reason)
                case Accepted():
                    if found.own:
                        self._metrics.settings_valid.set(1)
                        self._reporter.set_settings_error(None)
                    await self._manager.apply(found.cameras)
                    self._reporter.set_wanted(found.wanted)

    async def _update_health(self) -> None:
        """Update readiness and the gauges of the spools; endless."""
        while True:
            if self._dispatcher.stalled_s > _KAFKA_SILENT_S:
                self._health.set_not_ready("kafka", f"no acknowledgement for {self._dispatcher.stalled_s:.0f} s")
            elif self._dispatcher.producer.connected:
                self._health.set_ready("kafka")
            else:
                self._health.set_not_ready("kafka", "not connected")
            self._manager.refresh()
            await asyncio.sleep(_UPDATE_S)

    def _log_summary(self) -> None:
        found = [stats.snapshot() for stats in self._manager.stats.values()]
        drops: Counter[str] = Counter()
        for one in found:
            drops.update(one.drops)
        log.info(
            "edge_finished",
            cameras=len(found),
            captured=sum(one.captured for one in found),
            found=sum(one.found for one in found),
            sent=sum(one.published for one in found),
            dropped=dict(drops),
            spooled=sum(one.spooled_frames for one in found),
        )
