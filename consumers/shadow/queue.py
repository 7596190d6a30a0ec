"""Regions that the active snapshot has decided and the shadow may decide too. A full queue drops; nothing waits."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from consumers.in_flight_frame import InFlightFrame
from consumers.metrics import ConsumerMetrics
from consumers.shadow.comparisons import Comparisons, Pair
from consumers.shadow.offered_region import Needs, OfferedRegion
from consumers.stages.batcher import RegionCrop
from framematch.core.arrays import Embeddings
from framematch.core.units import BYTES_PER_MB
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.matching.shadow.counts import Cost

_MAX_BATCHES = 4
_MAX_BYTES = 64 * BYTES_PER_MB
_HASH_DIGITS = 8
_HASHES = 16**8


class ShadowQueue:
    """Takes the sampled regions of decided batches, and gives batches for one pair of snapshots."""

    def __init__(
        self,
        shadow: Callable[[], ServedSnapshot | None],
        sample: Callable[[], float],
        *,
        batch_size: int,
        gather_s: float,
        comparisons: Comparisons,
        metrics: ConsumerMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._shadow = shadow
        self._sample = sample
        self._batch_size = batch_size
        self._gather_s = gather_s
        self._comparisons = comparisons
        self._metrics = metrics
        self._waiting: deque[OfferedRegion] = deque()
        self._bytes = 0
        self._paused: str | None = None
        self._paused_until_s = 0.0
        self._offered = asyncio.Event()

    @property
    def waiting(self) -> int:
        """The regions that wait."""
        return len(self._waiting)

    def offer(
        self,
        active: ServedSnapshot,
        batch: Sequence[RegionCrop],
        embeddings: Embeddings,
        invalid_rows: frozenset[int],
        cost: Cost,
    ) -> None:
        """Take the sampled regions of a batch that the active snapshot has decided, or drop them. Never waits.

        `embeddings` are those of the batch, [N, D], and `cost` what all of it took.
        """
        shadow = self._shadow()
        if shadow is None:
            return
        pair = Pair(active.manifest.id, shadow.manifest.id)
        if pair.active == pair.shadow:  # it has just become the active one
            return
        needs, sampled = Needs.of(active, shadow), self._sampled_frames(batch)
        if needs is Needs.CROP and batch[0].crop is None:
            needs = Needs.JPEG  # Triton has the pixels
        share = Cost(cost.embed_ms / len(batch), cost.search_ms / len(batch))
        for row, region in enumerate(batch):
            header = region.frame.header
            if header is not None and region.frame in sampled and row not in invalid_rows:
                self._add(
                    OfferedRegion(
                        pair=pair,
                        shadow=shadow,
                        frame=header,
                        box=region.frame.regions[region.number],
                        decision=region.frame.decision(region.number),
                        cost=share,
                        needs=needs,
                        embedding=embeddings[row] if needs is Needs.EMBEDDING else None,
                        crop=region.crop if needs is Needs.CROP else None,
                        jpeg=region.frame.record.value if needs is Needs.JPEG else None,
                    )
                )

    async def next_batch(self) -> list[OfferedRegion]:
        """Wait for regions, and a moment for a full batch; returns those that wait for the same pair.

        A search of many takes less time for each, and nobody waits for the shadow.
        """
        await self._wait_for(1)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._gather_s):
                await self._wait_for(self._batch_size)
        batch = [self._pop()]
        while self._waiting and len(batch) < self._batch_size and self._waiting[0].fits(batch[0]):
            batch.append(self._pop())
        return batch

    async def _wait_for(self, regions: int) -> None:
        while len(self._waiting) < regions:
            self._offered.clear()
            await self._offered.wait()

    def pause(self, shadow: str, for_s: float) -> None:
        """Drop what waits, and for so long every region for this snapshot."""
        self._paused, self._paused_until_s = shadow, self._clock() + for_s
        while self._waiting:
            self._drop(self._pop())

    def _sampled_frames(self, batch: Sequence[RegionCrop]) -> frozenset[InFlightFrame]:
        frames, sample = {region.frame for region in batch}, self._sample()
        if sample < 1:  # an id takes as long as all the rest
            frames = {frame for frame in frames if frame.header is not None and is_sampled(frame.header.id, sample)}
        return frozenset(frames)

    def _add(self, region: OfferedRegion) -> None:
        full = len(self._waiting) >= _MAX_BATCHES * self._batch_size or self._bytes + region.size_bytes > _MAX_BYTES
        if full or (region.pair.shadow == self._paused and self._clock() < self._paused_until_s):
            self._drop(region)
        else:
            self._waiting.append(region)
            self._bytes += region.size_bytes
            self._offered.set()

    def _pop(self) -> OfferedRegion:
        region = self._waiting.popleft()
        self._bytes -= region.size_bytes
        return region

    def _drop(self, region: OfferedRegion) -> None:
        self._comparisons.of(region.pair).dropped += 1
        self._metrics.shadow_regions.labels("dropped").inc()


def is_sampled(frame_id: str, sample: float) -> bool:
    """Whether a frame is in the sample, a share from 0 to 1: the same frames in every process and on every run.

    A frame's id is a hash, so its first digits are as good as random.
    """
    return int(frame_id[:_HASH_DIGITS], 16) < sample * _HASHES
