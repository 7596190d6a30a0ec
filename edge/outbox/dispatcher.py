"""All cameras' ways to Kafka: one producer, one window, one thread for the disk, one outbox for each camera."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from edge.outbox.connection import Connection
from edge.outbox.drop_log import DropLog
from edge.outbox.outbox import Outbox
from edge.outbox.spool import Spool
from edge.outbox.way import Account, Way
from edge.outbox.window import Window
from framematch.core.kafka.topics import Topics
from framematch.core.paths import state_dir
from framematch.core.settings import EdgeSettings, KafkaSettings
from framematch.core.tracing import Tracer

log = structlog.get_logger()

_BYTES_PER_MB = 1_000_000
_TICK_S = 0.25
_UPKEEP_S = 10.0
_SILENT_S = 10.0
_ACKNOWLEDGE_SHARE = 0.5  # of the deadline: the rest is for the disk


class Left:
    """The account of a camera that is not set any more, but has frames on disk."""

    def __init__(self, camera: str) -> None:
        self.camera = camera

    def published(self, size_bytes: int, seconds: float) -> None:
        """Nobody asks."""

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """The drop log says it."""


class Dispatcher:
    """Owns what the outboxes share. `run` it, and `finish` at the end; for one event loop."""

    def __init__(self, kafka: KafkaSettings, edge: EdgeSettings, tracer: Tracer | None = None) -> None:
        topics = Topics(kafka.topic_prefix)
        self._spool_settings = edge.spool
        self._folder = Path(edge.spool.folder or state_dir() / "edge-spool") / kafka.topic_prefix
        self._connection = Connection(kafka)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="edge-spool")
        self._drops = DropLog()
        self._way = Way(
            sender=self._connection,
            topic=topics.frames,
            window=Window(edge.unacknowledged_max, int(edge.unacknowledged_max_mb * _BYTES_PER_MB)),
            executor=self._executor,
            drops=self._drops,
            max_message_bytes=kafka.max_message_bytes,
            after_s=edge.spool.after_s,
            tracer=tracer,
        )
        self._outboxes: dict[str, Outbox] = {}
        self._running: list[asyncio.Task[None]] = []
        self._recoveries: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None  # while `run` runs

    @property
    def connection(self) -> Connection:
        """For other records than frames: its `send`."""
        return self._connection

    @property
    def connected(self) -> bool:
        """Whether there is a producer; it may not have noticed yet that the broker went away."""
        return self._connection.connected

    @property
    def unacknowledged(self) -> int:
        """Frames in memory whose fate is not known yet."""
        return sum(outbox.unacknowledged for outbox in self._outboxes.values())

    @property
    def stalled_s(self) -> float:
        """The longest time for which a camera's frames waited without an acknowledgement; 0 when none waits."""
        return max((outbox.stalled_s for outbox in self._outboxes.values()), default=0.0)

    @property
    def outboxes(self) -> tuple[Outbox, ...]:
        """All, and those of cameras that are not set any more but had frames on disk."""
        return tuple(self._outboxes.values())

    def outbox(self, camera: str, account: Account, *, live: bool) -> Outbox:
        """The outbox of a camera, from now on with this account. A source that is not `live` can be made to wait.

        A camera that changed, or that left frames on disk in an earlier life, goes on with the outbox that there is.
        """
        outbox = self._outboxes.get(camera)
        if outbox is not None:
            outbox.serve(account, live=live)
            return outbox
        settings = self._spool_settings
        spool = None
        if settings.enabled:
            path = self._folder / f"{camera}.sqlite"
            spool = Spool(path, max_bytes=int(settings.max_mb * _BYTES_PER_MB), max_age_s=settings.max_age_s)
        outbox = Outbox(camera, account, spool, self._way, live=live)
        self._outboxes[camera] = outbox
        if self._group is not None:
            self._recoveries[camera] = self._group.create_task(outbox.run())
        return outbox

    async def remove(self, camera: str) -> None:
        """Close the outbox of a camera that was removed, once it is drained; `outbox` makes a new one from now on."""
        outbox = self._outboxes.pop(camera)
        if recovery := self._recoveries.pop(camera, None):
            recovery.cancel()
        await outbox.close()

    async def run(self) -> None:
        """Connect, and again; watch for stalls; replay what is on disk. Endless; also ends by `finish`."""
        self._adopt()
        try:
            async with asyncio.TaskGroup() as self._group:
                work = (self._connection.run(), self._watch(), self._keep_up())
                self._running = [self._group.create_task(each) for each in work]
                for camera, outbox in self._outboxes.items():
                    self._recoveries[camera] = self._group.create_task(outbox.run())
        finally:
            self._group = None
            self._running = []
            self._recoveries = {}

    async def drained(self) -> None:
        """Return when all frames are acknowledged or dropped, and none is on disk. For finite sources."""
        for outbox in self.outboxes:
            await outbox.drained()

    async def finish(self, deadline_s: float) -> None:
        """At the end, when nobody puts any more: wait for acknowledgements, for half of the deadline at most.

        Then what is left in memory goes to disk, and is not sent any more. A call of `run` ends. When Kafka has taken
        everything, the connection still takes other records.
        """
        tasks = [*self._running, *self._recoveries.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # `run` tells their errors
        try:
            async with asyncio.timeout(deadline_s * _ACKNOWLEDGE_SHARE):
                for outbox in self.outboxes:
                    await outbox.settled()
        except TimeoutError:
            log.warning("kafka_silent_at_end", unacknowledged=self.unacknowledged)
        unacknowledged = self.unacknowledged
        if unacknowledged:
            await self._connection.close()  # what is on disk must not be sent too
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
        """Leave disk and Kafka, which is not waited for; after `finish`."""
        self._drops.flush()
        await self._connection.close()
        self._executor.shutdown(wait=True)

    def _adopt(self) -> None:
        """Take over what an earlier life left of cameras that are not set any more."""
        for path in sorted(self._folder.glob("*.sqlite")):
            camera = path.stem
            if not self._spool_settings.enabled:
                log.warning("spool_left_alone", camera=camera, file=str(path), hint="edge.spool.enabled is false")
            elif camera not in self._outboxes:
                log.info("spool_found", camera=camera, file=str(path))
                self.outbox(camera, Left(camera), live=True)

    async def _watch(self) -> None:
        """Notice quickly that Kafka takes no frames, so that those in memory are on disk soon."""
        while True:
            await asyncio.sleep(min(_TICK_S, self._way.after_s / 2))
            self._drops.flush_due()
            for outbox in self._outboxes.values():
                outbox.check()

    async def _keep_up(self) -> None:
        next_s = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            next_s = time.monotonic() + _UPKEEP_S
            for outbox in self.outboxes:
                await outbox.upkeep()
            if self.connected and self.stalled_s > _SILENT_S:
                await self._connection.check()
