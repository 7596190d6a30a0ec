"""The outboxes of all cameras, and what they share: one producer, one window, one thread for disks."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from edge.outbox.context import READ_SHARE, REPLAY_SHARE, DeliveryStats, DropLog, OutboxContext
from edge.outbox.outbox import Outbox
from edge.outbox.pending import Window
from edge.outbox.reconnecting_producer import ReconnectingProducer
from edge.outbox.recovery import Recovery
from edge.outbox.spool import Spool
from framematch.core.kafka.topics import Topics
from framematch.core.paths import state_dir
from framematch.core.settings import EdgeSettings, KafkaSettings
from framematch.core.tracing import Tracer
from framematch.core.units import BYTES_PER_MB

log = structlog.get_logger()

_CHECK_S = 0.25
_UPKEEP_S = 10.0
_STALLED_S = 10.0
_ACKNOWLEDGE_SHARE = 0.5  # of the deadline; the rest is for the disk


class _NoStats:
    """For a camera that is not configured any more. Drops are logged all the same."""

    def published(self, size_bytes: int, seconds: float) -> None:
        """Count nothing."""

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Count nothing."""

    def found(self, count: int) -> None:
        """Count nothing."""


class Dispatcher:
    """Owns the outboxes and what they share. `run` it, then `finish`, then `close`. For one event loop.

    `producer` also takes records other than frames.
    """

    def __init__(self, kafka: KafkaSettings, edge: EdgeSettings, tracer: Tracer | None = None) -> None:
        self._spool_settings = edge.spool
        self._folder = Path(edge.spool.folder or state_dir() / "edge-spool") / kafka.topic_prefix
        self.producer = ReconnectingProducer(kafka)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="edge-spool")
        self._drops = DropLog()
        window = Window(edge.unacknowledged_max, int(edge.unacknowledged_max_mb * BYTES_PER_MB))
        replay_window = window.part(REPLAY_SHARE)
        self._context = OutboxContext(
            producer=self.producer,
            topic=Topics(kafka.topic_prefix).frames,
            window=window,
            replay_window=replay_window,
            read_window=replay_window.part(READ_SHARE),
            executor=self._executor,
            drops=self._drops,
            max_message_bytes=kafka.max_message_bytes,
            after_s=edge.spool.after_s,
            tracer=tracer,
        )
        self._outboxes: dict[str, Outbox] = {}
        self._removed: set[str] = set()  # cameras whose outbox goes when it is empty
        self._recoveries: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None  # while `run` runs

    @property
    def stalled_s(self) -> float:
        """The longest time for which a camera's frames have waited without an acknowledgement; 0 when none wait."""
        return max((outbox.stalled_s for outbox in self._outboxes.values()), default=0.0)

    @property
    def outboxes(self) -> tuple[Outbox, ...]:
        """Those of all cameras, and of removed ones that still have frames."""
        return tuple(self._outboxes.values())

    def outbox(self, camera: str, stats: DeliveryStats, *, live: bool) -> Outbox:
        """The camera's outbox, from now on with these statistics. A source that is not `live` can be made to wait.

        A camera that changed, or left frames on disk, continues with the outbox that exists.
        """
        self._removed.discard(camera)
        outbox = self._outboxes.get(camera)
        if outbox is not None:
            outbox.update(stats, live=live)
            return outbox
        settings = self._spool_settings
        spool = None
        if settings.enabled:
            path = self._folder / f"{camera}.sqlite"
            spool = Spool(path, max_bytes=int(settings.max_mb * BYTES_PER_MB), max_age_s=settings.max_age_s)
        outbox = self._outboxes[camera] = Outbox(camera, stats, spool, self._context, live=live)
        if self._group is not None:
            self._recoveries[camera] = self._group.create_task(Recovery(outbox).run())
        return outbox

    async def remove(self, camera: str) -> None:
        """A camera puts no more frames. Its outbox is removed now, or later when all that it has is sent."""
        self._removed.add(camera)
        await self._remove_empty()

    async def run(self) -> None:
        """Connect, watch for stalls, replay what is on disk. Endless; ends by `finish`."""
        self._adopt()
        try:
            async with asyncio.TaskGroup() as self._group:
                loops = (self.producer.run(), self._check(), self._upkeep())
                self._tasks = [self._group.create_task(loop) for loop in loops]
                for camera, outbox in self._outboxes.items():
                    self._recoveries[camera] = self._group.create_task(Recovery(outbox).run())
        finally:
            self._group = None
            self._tasks.clear()
            self._recoveries.clear()

    async def drained(self) -> None:
        """Return when all frames are acknowledged or dropped, and none is on disk. For sources that end."""
        for outbox in self.outboxes:
            await outbox.drained()

    async def finish(self, deadline_s: float) -> None:
        """Stop, after the last `put`: wait for acknowledgements while they come, for half of the deadline at most.

        What is left in memory goes to disk and is not sent any more. `run` returns. When Kafka has acknowledged
        everything, the producer still takes other records.
        """
        tasks = [*self._tasks, *self._recoveries.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # `run` raises their errors
        try:
            async with asyncio.timeout(deadline_s * _ACKNOWLEDGE_SHARE):
                for outbox in self.outboxes:
                    await outbox.settle()
        except TimeoutError:
            log.warning("kafka_silent_at_end", unacknowledged=self._count_unacknowledged())
        unacknowledged = self._count_unacknowledged()
        if unacknowledged or any(outbox.silent for outbox in self.outboxes):
            await self.producer.close()  # what goes to disk must not be sent too
        spooled = {outbox.camera: await outbox.close() for outbox in self.outboxes}
        if any(spooled.values()):
            log.warning(
                "frames_spooled",
                frames=sum(spooled.values()),
                cameras=sum(map(bool, spooled.values())),
                unacknowledged=unacknowledged,
                folder=str(self._folder),
            )

    async def close(self) -> None:
        """Disconnect and release the disk, without waiting for Kafka; after `finish`."""
        self._drops.flush()
        await self.producer.close()
        self._executor.shutdown(wait=True)

    def _count_unacknowledged(self) -> int:
        return sum(len(outbox.pending) for outbox in self._outboxes.values())

    def _adopt(self) -> None:
        """Send what an earlier run left on disk of cameras that are not configured any more."""
        for path in sorted(self._folder.glob("*.sqlite")):
            camera = path.stem
            if not self._spool_settings.enabled:
                log.warning("spool_left_alone", camera=camera, file=str(path), hint="edge.spool.enabled is false")
            elif camera not in self._outboxes:
                log.info("spool_found", camera=camera, file=str(path))
                self.outbox(camera, _NoStats(), live=True)
                self._removed.add(camera)

    async def _check(self) -> None:
        """Notice soon that Kafka takes no frames, so that those in memory are on disk soon."""
        while True:
            await asyncio.sleep(min(_CHECK_S, self._context.after_s / 2))
            self._drops.flush_due()
            for outbox in self._outboxes.values():
                outbox.check()
            await self._remove_empty()

    async def _upkeep(self) -> None:
        next_s = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            next_s = time.monotonic() + _UPKEEP_S
            for outbox in self.outboxes:
                await outbox.upkeep()
            if self.producer.connected and self.stalled_s > _STALLED_S:
                await self.producer.check()

    async def _remove_empty(self) -> None:
        """Remove the outboxes of removed cameras that have nothing left."""
        for camera in tuple(self._removed):
            if camera in self._removed and self._outboxes[camera].empty:  # it may have been added again meanwhile
                self._removed.discard(camera)
                outbox = self._outboxes.pop(camera)
                if recovery := self._recoveries.pop(camera, None):
                    recovery.cancel()
                await outbox.close()
