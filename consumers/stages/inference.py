"""A batch of regions through the model and the index, however long Triton is away."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import structlog

from consumers.metrics import ConsumerMetrics
from consumers.stages.batcher import RegionOf
from consumers.work import Span
from framematch.core.backoff import Backoff
from framematch.core.errors import BadFrameError, EmbeddingError, FramematchError, TritonUnavailableError
from framematch.core.health import Health
from framematch.matching.matcher import Matcher
from framematch.vision.arrays import Embeddings
from framematch.vision.encoder import ImageEncoder
from framematch.vision.isolation import embed_isolating

log = structlog.get_logger()

_BACKOFF_S = (0.4, 5.0)


class Inference:
    """Decides batches; several may be under way at once.

    `search_thread` is one thread of its own: the index serves one search at a time, and a search of a millisecond would
    wait long behind pictures to decode.
    """

    def __init__(
        self,
        *,
        encoder: ImageEncoder,
        matcher: Matcher,
        search_thread: Executor,
        metrics: ConsumerMetrics,
        health: Health,
    ) -> None:
        self._encoder = encoder
        self._matcher = matcher
        self._search_thread = search_thread
        self._metrics = metrics
        self._health = health

    async def decide(self, batch: Sequence[RegionOf]) -> None:
        """Fill in a decision for each region, or why its frame is bad: a picture of which the model makes nothing.

        Meanwhile nothing of it is answered, so nothing is committed: it waits for as long as Triton is away, does not
        have its model ready, or answers with what is no embedding for a picture that is known to be good.

        Raises:
            ModelMismatchError: Triton came back with another model.
        """
        began_ns = time.time_ns()
        embeddings, to_blame = await self._embed(np.stack([region.crop for region in batch]))
        inferred_ns = time.time_ns()
        loop = asyncio.get_running_loop()
        decisions = await loop.run_in_executor(self._search_thread, self._matcher.match, embeddings)
        searched_ns = time.time_ns()
        self._note(batch, "infer", (began_ns, inferred_ns))
        self._note(batch, "search", (inferred_ns, searched_ns))
        for number, (region, decision) in enumerate(zip(batch, decisions, strict=True)):
            region.work.decisions[region.number] = decision
            if number in to_blame and region.work.bad is None:
                region.work.bad_stage = "infer"
                region.work.bad = BadFrameError("invalid_embedding", f"no embedding of region {region.number} is valid")

    async def _embed(self, crops: np.ndarray) -> tuple[Embeddings, frozenset[int]]:
        backoff, batch = Backoff(*_BACKOFF_S), object()  # a batch that succeeds must not hide another that fails
        while True:
            try:
                found = await embed_isolating(self._encoder, crops)
            except (TritonUnavailableError, EmbeddingError) as error:
                await self._wait(error, backoff.next_delay_s(), batch)
            else:
                self._health.set_ready("triton", source=batch)
                return found

    async def _wait(self, error: FramematchError, delay_s: float, batch: object) -> None:
        self._health.set_not_ready("triton", error.message, source=batch)
        event = "model_output_invalid" if isinstance(error, EmbeddingError) else "inference_retried"
        self._metrics.inference_retries.labels(event).inc()
        log.warning(event, error=str(error), delay_s=round(delay_s, 3))
        await asyncio.sleep(delay_s)

    def _note(self, batch: Sequence[RegionOf], stage: str, span: Span) -> None:
        """The stage's time, for the batch and for each frame in it: a frame in two batches has that of the last."""
        self._metrics.stage_seconds.labels(stage).observe((span[1] - span[0]) / 1e9)
        for region in batch:
            region.work.spans[stage] = span
