"""Decides sampled regions with the shadow snapshot, beside the active one, and compares the decisions.

It has a thread of its own and rests after each batch as long as the batch took, so it has at most half of a core. The
thread has no lower priority: while other work fills the cores, one that is not scheduled may hold Python's lock (with
`nice` 10 and 19 the event loop stood still for 150 to 360 ms, without for at most 100 ms).
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import structlog

from consumers.metrics import ConsumerMetrics
from consumers.shadow.comparisons import Comparisons
from consumers.shadow.offered_region import OfferedRegion
from consumers.shadow.queue import ShadowQueue
from consumers.stages.decode import read_jpeg
from consumers.stages.prepare import crop_regions
from framematch.catalog.mongo import Database
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.backoff import Backoff
from framematch.core.error_groups import describe
from framematch.core.errors import FramematchError
from framematch.core.frames import Frame
from framematch.core.units import MS_PER_S
from framematch.matching.shadow.comparison import ComparedRegion
from framematch.matching.shadow.counts import Cost
from framematch.vision.isolation import embed_isolating

log = structlog.get_logger()

_BACKOFF_S = (1.0, 60.0)


class Shadow:
    """Takes batches from the queue, for as long as it runs. No error of the shadow ends the consumer."""

    def __init__(
        self,
        queue: ShadowQueue,
        *,
        thread: Executor,
        comparisons: Comparisons,
        database: Database,
        metrics: ConsumerMetrics,
        max_pixels: int,
    ) -> None:
        self.queue = queue
        self._thread = thread
        self._comparisons = comparisons
        self._database = database
        self._metrics = metrics
        self._max_pixels = max_pixels

    async def run(self) -> None:
        """Compare until cancelled; what was counted is written every few seconds and at the end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._decide_batches())
            group.create_task(self._comparisons.keep_written(self._database))

    async def _decide_batches(self) -> None:
        backoff = Backoff(*_BACKOFF_S)
        failing: str | None = None
        while True:
            batch = await self.queue.next_batch()
            snapshot, start_s = batch[0].pair.shadow, time.monotonic()
            try:
                await self._decide(batch)
            except Exception as error:  # whatever fails here must not end the consumer; it is logged
                self._fail(batch)
                self.queue.pause(snapshot, backoff.next_delay_s())
                if failing != snapshot:
                    defect = not isinstance(error, FramematchError)
                    log.warning("shadow_paused", snapshot=snapshot, error=describe(error), exc_info=defect)
                failing = snapshot
            else:
                if failing == snapshot:
                    log.info("shadow_resumed", snapshot=snapshot)
                failing = None
                backoff.reset()
            del batch  # while it waits here it would keep a snapshot in memory that is served no more
            await asyncio.sleep(time.monotonic() - start_s)

    async def _decide(self, batch: Sequence[OfferedRegion]) -> None:
        """Decide and count the regions of a batch, which are for one pair of snapshots."""
        loop, shadow = asyncio.get_running_loop(), batch[0].shadow
        start_s = time.monotonic()
        embeddings, invalid_rows = await self._embed(batch)
        embedded_s = time.monotonic()
        decisions = await loop.run_in_executor(self._thread, shadow.matcher.match, embeddings)
        searched_s = time.monotonic()
        comparison = self._comparisons.of(batch[0].pair)
        for row, (region, decision) in enumerate(zip(batch, decisions, strict=True)):
            if row in invalid_rows:
                self._fail([region])
                continue
            frame = region.frame
            name = f"{frame.captured_at_us}-{frame.sequence}"  # its id takes longer
            comparison.add(ComparedRegion(frame.camera, name, frame.arrived_at_us, region.decision, decision))
            self._metrics.shadow_regions.labels("compared").inc()
        own = Cost((embedded_s - start_s) * MS_PER_S, (searched_s - embedded_s) * MS_PER_S)
        comparison.add_cost(sum((region.cost for region in batch), Cost()), own)

    async def _embed(self, batch: Sequence[OfferedRegion]) -> tuple[Embeddings, frozenset[int]]:
        """The embeddings [N, D] of the shadow's model, and the rows of regions that it cannot embed."""
        known = [region.embedding for region in batch if region.embedding is not None]
        if len(known) == len(batch):
            return np.stack(known), frozenset()
        crops = [region.crop for region in batch if region.crop is not None]
        if len(crops) < len(batch):
            loop = asyncio.get_running_loop()
            crops = await loop.run_in_executor(self._thread, self._prepare, batch)
        return await embed_isolating(batch[0].shadow.encoder, np.stack(crops))

    def _prepare(self, batch: Sequence[OfferedRegion]) -> list[Pixels]:
        """Decode the frames again, and crop and scale the regions as the shadow's model takes them."""
        preprocessor = batch[0].shadow.preprocessor
        frames: dict[Frame, list[OfferedRegion]] = {}
        for region in batch:
            frames.setdefault(region.frame, []).append(region)
        crops: dict[OfferedRegion, Pixels] = {}
        for regions in frames.values():
            jpeg = read_jpeg(regions[0].jpeg or b"", max_pixels=self._max_pixels)
            cropped = crop_regions(jpeg, [region.box for region in regions], preprocessor)
            crops.update(zip(regions, cropped, strict=True))
        return [crops[region] for region in batch]

    def _fail(self, regions: Sequence[OfferedRegion]) -> None:
        for region in regions:
            self._comparisons.of(region.pair).failed += 1
            self._metrics.shadow_regions.labels("failed").inc()
