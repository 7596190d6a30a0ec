"""The edge's path from an encoded frame to Kafka, as the service sets it up, without cameras."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

from prometheus_client import CollectorRegistry

from benchmarks.frames import camera_names, draw_jpegs, frames_of
from edge.metrics import EdgeMetrics
from edge.outbox.dispatcher import Dispatcher
from edge.sinks import Outgoing
from edge.stats import CameraStats
from framematch.core.errors import FramematchError
from framematch.core.settings import EdgeSettings, KafkaSettings, SpoolSettings
from framematch.core.timestamps import now_us

CAMERAS = camera_names(8, KafkaSettings().partitions)
_JPEGS, _JPEG_QUALITY = 240, 92
_ACKNOWLEDGED_S = 60.0
_POLL_S = 0.001
_FINISH_S = 10.0


def make_frames(frames: int) -> list[Outgoing]:
    """`frames` frames of 8 cameras in turn, with JPEGs of about 50 KB that repeat."""
    jpegs = draw_jpegs(_JPEGS, quality=_JPEG_QUALITY)
    named = frames_of(CAMERAS, frames, until_us=now_us())
    return [Outgoing(frame, jpeg, time.monotonic()) for frame, jpeg in zip(named, cycle(jpegs), strict=False)]


class OpenOutboxes:
    """An outbox for each camera; counts how many frames Kafka has acknowledged."""

    def __init__(self, dispatcher: Dispatcher, *, live: bool) -> None:
        self._stats = CameraStats("benchmark", EdgeMetrics(CollectorRegistry()).of("benchmark"), lambda: None)
        self._outboxes = {camera: dispatcher.outbox(camera, self._stats, live=live) for camera in CAMERAS}

    async def put(self, frames: Sequence[Outgoing]) -> None:
        """Send frames as the service does."""
        for outgoing in frames:
            await self._outboxes[outgoing.frame.camera].put(outgoing)

    @property
    def spooled(self) -> int:
        """Frames that are on disk alone."""
        return sum(outbox.spooled_frames for outbox in self._outboxes.values())

    async def acknowledged(self, frames: int) -> float:
        """Wait until `frames` frames have been acknowledged since the start; returns the time, monotonic."""
        deadline_s = time.monotonic() + _ACKNOWLEDGED_S
        while (stats := self._stats.snapshot()).published < frames:
            if stats.drops:
                raise FramematchError(f"the edge dropped frames: {', '.join(sorted(stats.drops))}")
            if time.monotonic() > deadline_s:
                raise FramematchError(
                    f"{stats.published} of {frames} frames were acknowledged in {_ACKNOWLEDGED_S:g} s"
                )
            await asyncio.sleep(_POLL_S)
        return time.monotonic()


@asynccontextmanager
async def open_outboxes(kafka: KafkaSettings, spool: Path, *, live: bool) -> AsyncIterator[OpenOutboxes]:
    """Outboxes with default settings; what is left at the end goes to disk, below `spool`.

    Without `live` a `put` waits for Kafka. With it nobody waits: frames go to disk when memory is full.
    """
    dispatcher = Dispatcher(kafka, EdgeSettings(spool=SpoolSettings(folder=str(spool))))
    outboxes = OpenOutboxes(dispatcher, live=live)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            try:
                yield outboxes
            finally:
                await dispatcher.finish(_FINISH_S)
    finally:
        await dispatcher.close()


async def direct_rate(kafka: KafkaSettings, frames: Sequence[Outgoing], spool: Path, *, warm_up: int) -> float:
    """Frames a second of outboxes that wait for Kafka, after `warm_up` frames, up to the last acknowledgement."""
    async with open_outboxes(kafka, spool, live=False) as outboxes:
        await outboxes.put(frames[:warm_up])
        started_s = await outboxes.acknowledged(warm_up)
        await outboxes.put(frames[warm_up:])
        return (len(frames) - warm_up) / (await outboxes.acknowledged(len(frames)) - started_s)
