"""Decides fetched frames with one snapshot, as a consumer does, and without waiting for a server that is away."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from consumers.in_flight_frame import InFlightFrame
from consumers.stages.batcher import RegionCrop, region_crops
from consumers.stages.inference import set_decisions
from consumers.stages.prepare import Preparer
from framematch.core.error_groups import ungrouped_errors
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.isolation import embed_isolating


@dataclass(frozen=True)
class Decider:
    """Prepares, embeds and decides. `threads` decode, `search_thread` is one of its own, as the index needs it."""

    served: ServedSnapshot
    preparer: Preparer
    threads: Executor
    search_thread: Executor
    batch_size: int
    batches_in_flight: int

    async def decide(self, frames: Sequence[InFlightFrame]) -> None:
        """Set the outcome of each frame. Memory: the crops of a few batches, and of one frame for each.

        Raises:
            TritonUnavailableError: Triton does not answer.
            ModelError: the model is broken, or Triton serves another one now.
        """
        waiting = iter(frames)  # one iterator for all tasks
        with ungrouped_errors():  # all fail for the same reason, such as an unavailable server
            async with asyncio.TaskGroup() as group:
                for _ in range(self.batches_in_flight):
                    group.create_task(self._decide(waiting))

    async def _decide(self, frames: Iterator[InFlightFrame]) -> None:
        loop = asyncio.get_running_loop()
        regions: list[RegionCrop] = []
        for frame in frames:
            await loop.run_in_executor(self.threads, self.preparer.prepare, frame, self.served)
            regions += region_crops(frame)
            frame.crops = ()
            while len(regions) >= self.batch_size:
                await self._decide_batch(regions[: self.batch_size])
                del regions[: self.batch_size]
        if regions:
            await self._decide_batch(regions)

    async def _decide_batch(self, batch: Sequence[RegionCrop]) -> None:
        crops = np.stack([region.pixels for region in batch])
        embeddings, invalid_rows = await embed_isolating(self.served.encoder, crops)
        loop = asyncio.get_running_loop()
        decisions = await loop.run_in_executor(self.search_thread, self.served.matcher.match, embeddings)
        set_decisions(batch, decisions, invalid_rows)
