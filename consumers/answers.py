"""From records to answers: decode, embed, search, decide, add metadata. Knows nothing of Kafka's offsets."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from aiokafka import ConsumerRecord

from consumers.decode import Pixels, cut_regions, decode_jpeg
from consumers.metrics import ConsumerMetrics
from framematch.core.errors import BadFrameError
from framematch.core.events import (
    CandidateInfo,
    FrameReference,
    MatchEvent,
    MetadataState,
    ModelInfo,
    ProductInfo,
    frame_reference,
    region_event_id,
)
from framematch.core.frames import Frame, Region, parse_frame
from framematch.core.timestamps import now_us
from framematch.matching.decision import Decision
from framematch.matching.enrich import Metadata, MetadataCache
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor


@dataclass(frozen=True)
class Answer:
    """What became of one record: its events, or why it is a dead letter or was skipped."""

    record: ConsumerRecord
    frame: Frame | None = None
    events: tuple[MatchEvent, ...] = ()
    bad: BadFrameError | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class _Prepared:
    """A decoded frame: its regions, and for each the uint8 crop [H, W, 3] that the model takes."""

    answer: Answer
    regions: tuple[Region, ...] = ()
    crops: tuple[Pixels, ...] = ()


class Answerer:
    """Answers batches of records; several batches may be under way at once.

    `search_thread` is one thread of its own: the index serves one search at a time, and a search of a millisecond would
    wait long behind pictures to decode.
    """

    def __init__(
        self,
        *,
        encoder: ImageEncoder,
        preprocessor: Preprocessor,
        matcher: Matcher,
        metadata: MetadataCache,
        decode_threads: Executor,
        search_thread: Executor,
        metrics: ConsumerMetrics,
        max_pixels: int,
        max_age_s: float | None,
    ) -> None:
        self._encoder = encoder
        self._preprocessor = preprocessor
        self._matcher = matcher
        self._metadata = metadata
        self._decode_threads = decode_threads
        self._search_thread = search_thread
        self._metrics = metrics
        self._max_pixels = max_pixels
        self._max_age_us = None if max_age_s is None else int(max_age_s * 1_000_000)
        self._model = ModelInfo(encoder.manifest.name, encoder.manifest.digest)

    async def answer(self, records: Sequence[ConsumerRecord]) -> list[Answer]:
        """An answer for each record, in their order.

        Raises:
            TritonUnavailableError: nothing was answered; the same batch can be tried again.
            ModelError: Triton gives embeddings that cannot be used.
        """
        timings_ms: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        with self._timed("decode", timings_ms):
            prepared = await asyncio.gather(
                *(loop.run_in_executor(self._decode_threads, self._prepare, record) for record in records)
            )
        crops = [crop for frame in prepared for crop in frame.crops]
        if not crops:
            return [frame.answer for frame in prepared]
        with self._timed("infer", timings_ms):
            embeddings = await self._encoder.embed(np.stack(crops))
        with self._timed("search", timings_ms):
            decisions = await loop.run_in_executor(self._search_thread, self._matcher.match, embeddings)
        with self._timed("enrich", timings_ms):
            matched = {d.candidates[0].product_id for d in decisions if d.kind == "match"}
            metadata = await self._metadata.lookup(matched)
        remaining = iter(decisions)
        return [self._with_events(frame, remaining, metadata, timings_ms) for frame in prepared]

    def _prepare(self, record: ConsumerRecord) -> _Prepared:
        try:
            frame = parse_frame(record.key, record.headers)
            if self._max_age_us is not None and now_us() - frame.came_at_us > self._max_age_us:
                return _Prepared(Answer(record, frame, skipped="age"))
            picture = decode_jpeg(record.value or b"", max_pixels=self._max_pixels)
            found = cut_regions(picture, frame.regions)
        except BadFrameError as error:
            return _Prepared(Answer(record, bad=error))
        regions, pixels = zip(*found, strict=True)
        return _Prepared(Answer(record, frame), regions, tuple(self._preprocessor(box) for box in pixels))

    def _with_events(
        self,
        prepared: _Prepared,
        decisions: Iterator[Decision],
        metadata: dict[str, Metadata],
        timings_ms: dict[str, float],
    ) -> Answer:
        frame, record = prepared.answer.frame, prepared.answer.record
        if frame is None or not prepared.crops:
            return prepared.answer
        reference = frame_reference(frame, record.topic, record.partition, record.offset)
        age_ms = (now_us() - frame.came_at_us) / 1_000
        timings = {**timings_ms, "age": round(age_ms, 3)}
        events = tuple(
            self._event(reference, region, next(decisions), metadata, timings) for region in prepared.regions
        )
        return replace(prepared.answer, events=events)

    def _event(
        self,
        frame: FrameReference,
        region: Region,
        decision: Decision,
        metadata: dict[str, Metadata],
        timings_ms: dict[str, float],
    ) -> MatchEvent:
        self._metrics.decisions.labels(decision.kind).inc()
        product, state = _product(decision, metadata)
        return MatchEvent(
            schema="match.v1",
            id=region_event_id(frame, region),
            frame=frame,
            region=region,
            decision=decision.kind,
            score=decision.score,
            margin=decision.margin,
            threshold=self._matcher.thresholds.match,
            product=product,
            candidates=tuple(CandidateInfo(c.product_id, c.score) for c in decision.candidates),
            snapshot=self._matcher.manifest.id,
            model=self._model,
            metadata_state=state,
            timings_ms=timings_ms,
        )

    @contextmanager
    def _timed(self, stage: str, timings_ms: dict[str, float]) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        timings_ms[stage] = round(seconds * 1_000, 3)
        self._metrics.stage_seconds.labels(stage).observe(seconds)


def _product(decision: Decision, metadata: dict[str, Metadata]) -> tuple[ProductInfo | None, MetadataState]:
    """The matched product as an event shows it; with its id alone when its metadata is not to be had."""
    if decision.kind != "match":
        return None, "fresh"
    best = decision.candidates[0].product_id
    found = metadata[best]
    if found.product is None:
        return ProductInfo(id=best, name=best), "missing"
    known = found.product
    info = ProductInfo(known.id, known.name, known.category, known.price, known.description, known.attributes)
    return info, found.state
