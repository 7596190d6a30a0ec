"""The edge's path from an encoded frame to Kafka, as the service sets it up, without cameras."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from edge.metrics import EdgeMetrics
from edge.outbox.dispatcher import Dispatcher
from edge.outbox.outbox import Outbox
from edge.sinks import Outgoing
from edge.stats import CameraStats
from framematch.core.errors import FramematchError
from framematch.core.settings import EdgeSettings, KafkaSettings, SpoolSettings

_ACKNOWLEDGED_S = 60.0
_POLL_S = 0.001
_FINISH_S = 10.0


class OpenOutboxes:
    """Takes frames of all cameras, and knows how many Kafka has acknowledged."""

    def __init__(self, dispatcher: Dispatcher, cameras: Sequence[str], *, live: bool) -> None:
        metrics = EdgeMetrics(CollectorRegistry())
        self._stats = {camera: CameraStats(camera, metrics.of(camera), lambda: None) for camera in cameras}
        self._boxes: dict[str, Outbox] = {
            camera: dispatcher.outbox(camera, stats, live=live) for camera, stats in self._stats.items()
        }

    async def put(self, outgoing: Outgoing) -> None:
        """Send a frame as the service does."""
        await self._boxes[outgoing.frame.camera].put(outgoing)

    @property
    def spooled(self) -> int:
        """Frames that are on disk alone."""
        return sum(box.spooled_frames for box in self._boxes.values())

    async def acknowledged(self, frames: int) -> float:
        """When `frames` frames had been acknowledged since the start, by the performance counter."""
        deadline_s = time.perf_counter() + _ACKNOWLEDGED_S
        while (published := sum(stats.snapshot().published for stats in self._stats.values())) < frames:
            if drops := {reason for stats in self._stats.values() for reason in stats.snapshot().drops}:
                raise FramematchError(f"the edge dropped frames: {', '.join(sorted(drops))}")
            if time.perf_counter() > deadline_s:
                raise FramematchError(f"{published} of {frames} frames were acknowledged in {_ACKNOWLEDGED_S:g} s")
            await asyncio.sleep(_POLL_S)
        return time.perf_counter()


@asynccontextmanager
async def open_outboxes(
    kafka: KafkaSettings, cameras: Sequence[str], *, spool: Path, live: bool
) -> AsyncIterator[OpenOutboxes]:
    """Outboxes with default settings; what is left at the end goes to disk, below `spool`.

    Without `live` a `put` waits for Kafka. With it nobody waits: frames go to disk when memory is full.
    """
    dispatcher = Dispatcher(kafka, EdgeSettings(spool=SpoolSettings(folder=str(spool))))
    boxes = OpenOutboxes(dispatcher, cameras, live=live)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            try:
                yield boxes
            finally:
                await dispatcher.finish(_FINISH_S)
    finally:
        await dispatcher.close()
