"""The partitions that a consumer owns, with everything it holds for them: frames, queues between stages, sightings."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import Enum, auto

from aiokafka import TopicPartition

from consumers.in_flight import InFlight
from consumers.in_flight_frame import Decided, InFlightFrame, Skipped
from consumers.sightings.sightings import Sightings
from consumers.stages.batcher import Batcher, RegionCrop, region_crops
from consumers.stages.calibration import CalibrationWatch
from consumers.stages.scene_cache import StaticSceneCache
from framematch.core.lifecycle import first_of
from framematch.core.settings import ConsumerSettings
from framematch.core.units import BYTES_PER_MB, MS_PER_S

_MAX_FRAMES_AT_ONCE = 8  # that one thread prepares before it passes them on
_MAX_BYTES_AT_ONCE = 100_000  # of JPEGs: about 3 ms
_BATCHES_AHEAD = 2  # prepared regions that wait for a batch, in batches: enough that none waits for a decoder


class State(Enum):
    """`ASSIGNED` by the group; `OPEN`: frames are fetched; `DRAINING`: no longer; `REVOKED`: others own them."""

    ASSIGNED = auto()
    OPEN = auto()
    DRAINING = auto()
    REVOKED = auto()


class Assignment:
    """Created when the group assigns partitions, dropped as a whole when it revokes them.

    Each stage takes frames from the queue before it and puts them into the next one. After a revoke the queues return
    nothing; a stage that still works on a frame puts it into a queue that is not read any more.
    """

    def __init__(
        self,
        partitions: frozenset[TopicPartition],
        settings: ConsumerSettings,
        sightings: Sightings,
        calibration: CalibrationWatch,
    ) -> None:
        self.partitions = partitions
        self.state = State.ASSIGNED
        self.paused = set(partitions)
        self.sightings = sightings
        self.calibration = calibration
        self.in_flight = InFlight(
            max_frames=settings.in_flight_max, max_bytes=int(settings.in_flight_max_mb * BYTES_PER_MB)
        )
        self._batcher = Batcher(batch_size=settings.batch_size, window_s=settings.batch_window_ms / MS_PER_S)
        self._decode_threads = settings.decode_threads
        self._max_regions_waiting = _BATCHES_AHEAD * settings.batch_size
        self._cache = (
            StaticSceneCache(max_age_s=settings.reuse_static_regions_s) if settings.reuse_static_regions else None
        )
        self._undecided = 0  # batches
        self._ready: deque[InFlightFrame] = deque()
        self._forming = asyncio.Lock()
        self._revoked, self._fetched, self._capacity, self._prepared, self._complete = (
            asyncio.Event() for _ in range(5)
        )

    @property
    def fetchable(self) -> frozenset[TopicPartition]:
        """The partitions while frames may be fetched; none before that and while they are drained."""
        return self.partitions if self.state is State.OPEN else frozenset()

    def add(self, frame: InFlightFrame) -> None:
        """A frame was fetched."""
        self.in_flight.add(frame)
        self._fetched.set()

    async def next_frames(self) -> list[InFlightFrame]:
        """Wait for frames to prepare, and for capacity in the batcher; empty after a revoke.

        With a backlog they are several, the ordering keys in turn: handing frames to a thread one by one costs a
        quarter of their CPU time. Each decode thread gets its share, so no thread idles while another has a queue.
        """
        while self.state is not State.REVOKED:
            if (capacity := self._max_regions_waiting - len(self._batcher)) <= 0:
                self._capacity.clear()
                await self._capacity.wait()
            elif self.in_flight.waiting:
                share = -(-self.in_flight.waiting // self._decode_threads)
                return self._pop_frames(min(share, capacity, _MAX_FRAMES_AT_ONCE))
            else:
                self._fetched.clear()
                await self._fetched.wait()
        return []

    def _pop_frames(self, most: int) -> list[InFlightFrame]:
        """At least one frame, then others while they are few and small: the first waits for the last."""
        frames: list[InFlightFrame] = []
        size_bytes = 0
        while len(frames) < most and size_bytes < _MAX_BYTES_AT_ONCE and (frame := self.in_flight.pop_next()):
            frames.append(frame)
            size_bytes += frame.size_bytes
        return frames

    def prepared(self, frame: InFlightFrame) -> None:
        """A frame has its crops, or its outcome: pass on the regions that have to go through the model."""
        self.in_flight.update_size(frame)
        self._add_regions(self._cache.lookup(frame) if self._cache else region_crops(frame))
        self._pass_on_complete([frame])

    async def next_batch(self) -> list[RegionCrop]:
        """Wait until a batch is full, the model idle, or its oldest frame has waited long enough; empty after a revoke.

        The model is idle when all batches before are `decided`.
        """
        async with self._forming:
            while self.state is not State.REVOKED and (due_in_s := self._due_in_s()) != 0:
                self._prepared.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(due_in_s):
                        await self._prepared.wait()
            batch = [] if self.state is State.REVOKED else self._batcher.pop_batch()
            self._undecided += bool(batch)
        self._capacity.set()
        now_ns = time.time_ns()
        for region in batch:
            spans = region.frame.spans
            spans["batch"] = (spans["decode"][1], now_ns)
        return batch

    def decided(self, batch: Sequence[RegionCrop]) -> None:
        """A batch went through the model: pass on the frames that are complete by it."""
        self._undecided -= 1
        self._prepared.set()  # the next batch may be due
        frames = {region.frame for region in batch}
        if self._cache:
            resolved = self._cache.resolve(batch)
            self._add_regions(resolved.to_infer)
            frames |= resolved.decided
        self._pass_on_complete(frames)

    async def ready_frames(self) -> list[InFlightFrame]:
        """Wait for complete frames that can be published, those of an ordering key in order; empty after a revoke."""
        while not self._ready and self.state is not State.REVOKED:
            self._complete.clear()
            await self._complete.wait()
        frames = [] if self.state is State.REVOKED else list(self._ready)
        self._ready.clear()
        return frames

    def skip_repeats(self, frames: Iterable[InFlightFrame]) -> None:
        """Skip decided frames that have another record before this one; call it in the order of `ready_frames`."""
        recent = self.sightings.recent_frames
        for frame in frames:
            header = frame.header if isinstance(frame.outcome, Decided) else None
            if header is not None and not recent.add(header.camera, header.id):
                frame.outcome = Skipped("repeat")

    async def drained(self) -> None:
        """Return once no frame is in flight, or the partitions are revoked."""
        await first_of(self.in_flight.idle(), self._revoked.wait())

    def revoke(self) -> None:
        """Other consumers own the partitions now: every call that waits here returns with nothing."""
        self.state = State.REVOKED
        for event in (self._revoked, self._fetched, self._capacity, self._prepared, self._complete):
            event.set()

    def _due_in_s(self) -> float | None:
        return self._batcher.due_in_s(time.monotonic(), idle=not self._undecided)

    def _add_regions(self, regions: Iterable[RegionCrop]) -> None:
        self._batcher.add(regions, time.monotonic())
        self._prepared.set()

    def _pass_on_complete(self, frames: Iterable[InFlightFrame]) -> None:
        for frame in frames:
            if frame.complete:
                frame.crops = ()
                self.in_flight.update_size(frame)
                self._ready.extend(self.in_flight.pop_ready(frame.ordering_key))
                self._complete.set()
