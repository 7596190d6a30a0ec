"""The edge service: the way of a frame from its camera to Kafka, in the order of the steps.

source -> sampler -> newest-frame slot -> scale and JPEG -> topic .frames      and beside it, topic .status
`--------- capture thread --------'       worker thread     event loop
"""

import asyncio
import time
from dataclasses import dataclass
from functools import partial

import structlog

from edge.cameras import Camera, cameras_from, check_files
from edge.meter import CameraMeter
from edge.metrics import EdgeMetrics
from edge.outbox.producer import RenewableProducer
from edge.outbox.publish import Publisher
from edge.status import StatusReporter
from edge.worker.capture import Capture, CapturedFrame
from edge.worker.encode import encode_jpeg
from edge.worker.ffmpeg import configure_opencv
from edge.worker.slot import NewestFrameSlot
from framematch.core.health import Health, serve_http
from framematch.core.metrics import new_registry
from framematch.core.settings import EdgeSettings, Settings
from framematch.core.topics import Topics, ensure_topics

log = structlog.get_logger()

_WATCH_S = 1.0
_KAFKA_SILENT_S = 10.0
_JOIN_S = 1.0


@dataclass(frozen=True)
class _Line:
    """All that belongs to one camera."""

    camera: Camera
    capture: Capture
    slot: NewestFrameSlot[CapturedFrame]
    meter: CameraMeter


async def run_edge(settings: Settings, stop: asyncio.Event, *, repeat: bool = False) -> None:
    """Publish the frames of all cameras until `stop` is set, or every source has ended (files and folders do).

    Then what is in flight is encoded, sent and acknowledged, and a last status is sent. `repeat` plays files and
    folders again and again.

    Raises:
        UsageError: no cameras, or a source that cannot be right.
        KafkaUnavailableError: no broker answers at the start. Later outages are waited for.
    """
    configure_opencv(rtsp_transport=settings.edge.rtsp_transport, read_timeout_s=settings.edge.read_timeout_s)
    cameras = cameras_from(settings.edge)
    await asyncio.to_thread(check_files, cameras, settings.edge)
    await ensure_topics(settings.kafka)

    topics = Topics(settings.kafka.topic_prefix)
    registry = new_registry()
    health = Health("kafka")
    async with serve_http(health, registry, settings.http), RenewableProducer(settings.kafka) as producer:
        health.set_ready("kafka")
        changed = asyncio.Event()
        lines = _lines(cameras, settings.edge, EdgeMetrics(registry), changed, repeat=repeat)
        publisher = Publisher(
            producer,
            topics.frames,
            unacknowledged_max=settings.edge.unacknowledged_max,
            max_message_bytes=settings.kafka.max_message_bytes,
        )
        reporter = StatusReporter(
            producer, topics.status, [line.meter for line in lines], changed, settings.edge.status_interval_s
        )
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(work)
                for work in (reporter.run(), _watch_kafka(publisher, health), _stop_captures(stop, lines))
            ]
            await _run_lines(lines, publisher)
            for task in beside:
                task.cancel()
        await reporter.report_all()


def _lines(
    cameras: tuple[Camera, ...], settings: EdgeSettings, metrics: EdgeMetrics, changed: asyncio.Event, *, repeat: bool
) -> list[_Line]:
    loop = asyncio.get_running_loop()
    lines = []
    for camera in cameras:
        slot: NewestFrameSlot[CapturedFrame] = NewestFrameSlot(loop)
        meter = CameraMeter(camera.id, metrics, partial(loop.call_soon_threadsafe, changed.set))
        lines.append(_Line(camera, Capture(camera, slot, meter, settings, repeat=repeat), slot, meter))
    return lines


async def _run_lines(lines: list[_Line], publisher: Publisher) -> None:
    """Capture and publish until all slots are closed and empty, and the fate of every frame is known."""
    try:
        async with asyncio.TaskGroup() as group:
            for line in lines:
                group.create_task(_forward(line, publisher))
                line.capture.start()
        await publisher.drained()
    finally:
        for line in lines:
            line.capture.stop()
        await asyncio.to_thread(_join, lines)
        log.info("edge_finished", cameras=len(lines), unacknowledged=publisher.unacknowledged)


async def _forward(line: _Line, publisher: Publisher) -> None:
    """Take one camera's frames from its slot, encode each off the event loop, and publish them in order."""
    camera = line.camera
    while (captured := await line.slot.take()) is not None:
        jpeg = await asyncio.to_thread(
            encode_jpeg, captured.picture, max_side=camera.max_side, quality=camera.jpeg_quality
        )
        await publisher.publish(captured.frame, jpeg, captured.captured_s, line.meter)


async def _stop_captures(stop: asyncio.Event, lines: list[_Line]) -> None:
    await stop.wait()
    for line in lines:
        line.capture.stop()


async def _watch_kafka(publisher: Publisher, health: Health) -> None:
    while True:
        await asyncio.sleep(_WATCH_S)
        if publisher.stalled_s > _KAFKA_SILENT_S:
            health.set_not_ready("kafka", f"no acknowledgement for {publisher.stalled_s:.0f} s")
        else:
            health.set_ready("kafka")


def _join(lines: list[_Line]) -> None:
    """Let capture threads leave OpenCV before the process ends; one that hangs is left behind."""
    deadline_s = time.monotonic() + _JOIN_S
    for line in lines:
        line.capture.join(max(0.0, deadline_s - time.monotonic()))
