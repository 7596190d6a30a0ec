"""Builds match events from decisions: what is published of each frame. Independent of producers and offsets."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition
from prometheus_client import Counter

from consumers.in_flight_frame import Decided, InFlightFrame
from consumers.metrics import ConsumerMetrics
from framematch.core.events import (
    MATCH_SCHEMA,
    SIMILARITY_DIGITS,
    CalibrationState,
    CandidateInfo,
    MatchEvent,
    MetadataState,
    ProductInfo,
    SightingEvent,
    SkuInfo,
    frame_reference,
    similarity,
)
from framematch.core.ids import match_event_id
from framematch.core.timestamps import now_us
from framematch.core.units import NS_PER_S, US_PER_MS
from framematch.matching.decision import Decision
from framematch.matching.enrich import Metadata, MetadataCache
from framematch.matching.sketch import sketch_text


@dataclass(frozen=True)
class FrameResult:
    """What is published of a frame: its match events, and the sightings that it started, updated or ended.

    A rejected frame has a dead letter instead, a skipped one nothing. A result without a `frame` ends the sightings of
    a camera that has fallen silent.
    """

    partition: TopicPartition
    key: bytes | None
    frame: InFlightFrame | None
    events: tuple[MatchEvent, ...] = ()
    sightings: tuple[SightingEvent, ...] = ()

    @classmethod
    def of(
        cls, frame: InFlightFrame, events: tuple[MatchEvent, ...] = (), sightings: tuple[SightingEvent, ...] = ()
    ) -> "FrameResult":
        """The result of a frame."""
        return cls(frame.partition, frame.record.key, frame, events, sightings)

    @property
    def offset(self) -> int | None:
        """The frame's offset; None without a frame."""
        return None if self.frame is None else self.frame.record.offset


class ResultBuilder:
    """Builds the match events of complete frames."""

    def __init__(self, *, metadata: MetadataCache, metrics: ConsumerMetrics) -> None:
        self._metadata = metadata
        self._metrics = metrics
        self._decisions: dict[tuple[str, str | None], Counter] = {}

    async def look_up(self, frames: Sequence[InFlightFrame]) -> dict[str, Metadata]:
        """The metadata of all products that matched in these frames, by one query."""
        start_ns = time.time_ns()
        decided = {frame: frame.outcome for frame in frames if isinstance(frame.outcome, Decided)}
        metadata = await self._metadata.lookup(
            {
                decision.candidates[0].product_id
                for outcome in decided.values()
                for decision in outcome.decisions
                if decision.kind == "match"
            }
        )
        end_ns = time.time_ns()
        self._metrics.stage_seconds.labels("enrich").observe((end_ns - start_ns) / NS_PER_S)
        for frame in decided:
            frame.spans["enrich"] = (start_ns, end_ns)
        return metadata

    def match_events(
        self, frame: InFlightFrame, metadata: dict[str, Metadata], calibration: CalibrationState = "none"
    ) -> tuple[MatchEvent, ...]:
        """An event for each region; none of a frame that was skipped or rejected."""
        if frame.header is None or frame.served is None or not isinstance(frame.outcome, Decided):
            return ()
        header, outcome, record, served = frame.header, frame.outcome, frame.record, frame.served
        reference = frame_reference(header, record.topic, record.partition, record.offset)
        age_ms = round((now_us() - header.arrived_at_us) / US_PER_MS, 3)
        self._metrics.still_regions.inc(len(outcome.reused_from))
        timings_ms = {**frame.timings_ms(), "age": age_ms}
        events = []
        for number, (region, decision) in enumerate(zip(frame.regions, outcome.decisions, strict=True)):
            self._count(decision)
            product, state = _product(decision, metadata)
            if product:
                self._metrics.metadata.labels(state).inc()
            events.append(
                MatchEvent(
                    schema="match.v1",
                    id=match_event_id(reference.id, region, MATCH_SCHEMA),
                    frame=reference,
                    region=region,
                    decision=decision.kind,
                    score=None if decision.score is None else similarity(decision.score),
                    margin=None if decision.margin is None else round(decision.margin, SIMILARITY_DIGITS),
                    threshold=round(served.matcher.thresholds.match_for(decision.candidates), SIMILARITY_DIGITS),
                    product=product,
                    candidates=tuple([CandidateInfo(c.product_id, similarity(c.score)) for c in decision.candidates]),
                    snapshot=served.manifest.id,
                    model=served.model,
                    metadata_state=state,
                    timings_ms=timings_ms,
                    reused_from=outcome.reused_from.get(number),
                    reason=decision.reason,
                    delta=served.delta,
                    plausible=decision.plausible,
                    quality=decision.quality,
                    calibration=calibration,
                    sketch=None if decision.sketch is None else sketch_text(decision.sketch),
                )
            )
        return tuple(events)

    def _count(self, decision: Decision) -> None:
        """Count a decision; `labels` of Prometheus takes longer than to count."""
        key = decision.kind, decision.reason
        if (counter := self._decisions.get(key)) is None:
            counter = self._decisions[key] = self._metrics.decisions.labels(decision.kind, decision.reason or "")
        counter.inc()


def _product(decision: Decision, metadata: dict[str, Metadata]) -> tuple[ProductInfo | None, MetadataState]:
    """The matched product as in an event; only its id when its metadata is not available."""
    if decision.kind != "match":
        return None, "fresh"
    best = decision.candidates[0].product_id
    found = metadata[best]
    if found.product is None:
        return ProductInfo(id=best, name=best), "missing"
    known = found.product
    info = ProductInfo(
        known.id,
        known.name,
        known.category,
        known.price,
        known.description,
        known.attributes,
        known.currency,
        tuple(SkuInfo(sku.id, sku.gtin, sku.price, sku.options) for sku in known.skus),
    )
    return info, found.state
