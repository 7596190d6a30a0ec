"""Sends batches of regions through the model and the index; waits for as long as Triton is unavailable."""

import asyncio
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Executor

import structlog

from consumers.in_flight_frame import Rejected, Span
from consumers.metrics import ConsumerMetrics
from consumers.shadow.queue import ShadowQueue
from consumers.stages.batcher import RegionCrop, served_of
from consumers.stages.embed import EmbeddedBatch, embed_batch, settle_by_picture
from framematch.core.backoff import Backoff
from framematch.core.errors import BadFrameError, EmbeddingError, FramematchError, TritonUnavailableError
from framematch.core.health import Health
from framematch.core.units import NS_PER_MS, NS_PER_S
from framematch.matching.decision import Decision
from framematch.matching.gate import PictureGate
from framematch.matching.shadow.counts import Cost
from framematch.vision.encoder import ImageEncoder

log = structlog.get_logger()

_BACKOFF_S = (0.4, 5.0)


class Inference:
    """Decides batches; several may be in flight at once.

    `search_thread` is a thread of its own: the index serves one search at a time, and a search of a millisecond would
    otherwise wait behind pictures to decode. What was decided is offered to `shadow`, which takes it or leaves it.
    When Triton decodes, `gate` refuses pictures by what it has measured.
    """

    def __init__(
        self,
        *,
        search_thread: Executor,
        metrics: ConsumerMetrics,
        health: Health,
        shadow: ShadowQueue | None = None,
        gate: PictureGate | None = None,
    ) -> None:
        self._gate = gate
        self._search_thread = search_thread
        self._shadow = shadow
        self._metrics = metrics
        self._health = health

    async def decide(self, batch: Sequence[RegionCrop]) -> None:
        """Set the decision of each region, all for one served snapshot.

        A frame with a region that the model cannot embed is rejected.

        Retries for as long as Triton is unavailable, its model is not ready, or the model returns no embedding even for
        a picture that is known to be good. Nothing of the batch is published or committed before.

        Raises:
            ModelMismatchError: Triton serves another model now.
        """
        start_ns = time.time_ns()
        served = served_of(batch)
        embedded = await self._embed(served.encoder, batch)
        inferred_ns = time.time_ns()
        loop = asyncio.get_running_loop()
        decisions = await loop.run_in_executor(self._search_thread, served.matcher.match, embedded.embeddings)
        searched_ns = time.time_ns()
        self._record_span(batch, "infer", (start_ns, inferred_ns))
        self._record_span(batch, "search", (inferred_ns, searched_ns))
        settled = settle_by_picture(batch, embedded, self._gate)
        set_decisions(batch, decisions, embedded.invalid_rows, settled)
        if self._shadow is not None:
            cost = Cost((inferred_ns - start_ns) / NS_PER_MS, (searched_ns - inferred_ns) / NS_PER_MS)
            self._shadow.offer(served, batch, embedded.embeddings, embedded.invalid_rows | settled, cost)

    async def _embed(self, encoder: ImageEncoder, batch: Sequence[RegionCrop]) -> EmbeddedBatch:
        backoff, source = Backoff(*_BACKOFF_S), object()  # a batch that succeeds must not hide another that fails
        while True:
            try:
                found = await embed_batch(encoder, batch, self._gate)
            except (TritonUnavailableError, EmbeddingError) as error:
                await self._wait(error, backoff.next_delay_s(), source)
            else:
                self._health.set_ready("triton", source=source)
                return found

    async def _wait(self, error: FramematchError, delay_s: float, source: object) -> None:
        self._health.set_not_ready("triton", error.message, source=source)
        event = "model_output_invalid" if isinstance(error, EmbeddingError) else "inference_retried"
        self._metrics.inference_retries.labels(event).inc()
        log.warning(event, error=str(error), delay_s=round(delay_s, 3))
        await asyncio.sleep(delay_s)

    def _record_span(self, batch: Sequence[RegionCrop], stage: str, span: Span) -> None:
        """Set the span of each frame in the batch; a frame in two batches has that of the last."""
        self._metrics.stage_seconds.labels(stage).observe((span[1] - span[0]) / NS_PER_S)
        for region in batch:
            region.frame.spans[stage] = span


def set_decisions(
    batch: Sequence[RegionCrop],
    decisions: Sequence[Decision],
    invalid_rows: Collection[int],
    settled: Collection[int] = (),
) -> None:
    """Give each region its decision, but those in `settled`.

    A frame with a region that the model cannot embed is rejected.
    """
    for row, (region, decision) in enumerate(zip(batch, decisions, strict=True)):
        if row in settled:
            continue
        if row not in invalid_rows:
            region.frame.decide(region.number, decision)
        elif not region.frame.complete:
            error = BadFrameError("invalid_embedding", f"no embedding of region {region.number} is valid")
            region.frame.outcome = Rejected("infer", error)
