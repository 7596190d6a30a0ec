"""From decisions to match events: what is published of each frame. Knows nothing of Kafka's producers and offsets."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from consumers.metrics import ConsumerMetrics
from consumers.work import Work
from framematch.core.events import (
    CandidateInfo,
    MatchEvent,
    MetadataState,
    ModelInfo,
    ProductInfo,
    SightingEvent,
    frame_reference,
    region_event_id,
)
from framematch.core.frames import Frame
from framematch.core.timestamps import now_us
from framematch.matching.decision import Decision
from framematch.matching.enrich import Metadata, MetadataCache
from framematch.matching.matcher import Matcher
from framematch.matching.sightings import Observed
from framematch.vision.manifest import ModelManifest


@dataclass(frozen=True)
class Answer:
    """What is published of a frame: its match events, and the sightings that began, went on or ended with it.

    A frame that is bad has a dead letter instead, and one that was skipped nothing. Without a frame (`work` is None) it
    ends the sightings of a camera that has fallen silent.
    """

    partition: TopicPartition
    key: bytes | None
    work: Work | None
    events: tuple[MatchEvent, ...] = ()
    sightings: tuple[SightingEvent, ...] = ()

    @classmethod
    def of(cls, work: Work, events: tuple[MatchEvent, ...] = (), sightings: tuple[SightingEvent, ...] = ()) -> "Answer":
        """The answer of a frame."""
        return cls(work.partition, work.record.key, work, events, sightings)

    @property
    def offset(self) -> int | None:
        """Of the frame; None when there is none."""
        return None if self.work is None else self.work.record.offset


class Answers:
    """Makes the answers of complete frames, in their order."""

    def __init__(
        self,
        *,
        matcher: Matcher,
        model: ModelManifest,
        metadata: MetadataCache,
        observe: Callable[[Sequence[MatchEvent]], Observed],
        metrics: ConsumerMetrics,
    ) -> None:
        self._matcher = matcher
        self._model = ModelInfo(model.name, model.digest)
        self._metadata = metadata
        self._observe = observe
        self._metrics = metrics

    async def look_up(self, works: Sequence[Work]) -> dict[str, Metadata]:
        """The metadata of all products that these frames show, at once."""
        began_ns = time.time_ns()
        metadata = await self._metadata.lookup(
            {
                decision.candidates[0].product_id
                for work in works
                for decision in work.decisions.values()
                if decision.kind == "match"
            }
        )
        ended_ns = time.time_ns()
        self._metrics.stage_seconds.labels("enrich").observe((ended_ns - began_ns) / 1e9)
        for work in works:
            if work.decisions:
                work.spans["enrich"] = (began_ns, ended_ns)
        return metadata

    def answer(self, work: Work, metadata: dict[str, Metadata]) -> Answer:
        """The answer of a frame; called for a camera's frames in their order, as the sightings go on with each."""
        if work.frame is None or work.bad or work.skipped:
            return Answer.of(work)
        events = self._events(work, work.frame, metadata)
        observed = self._observe(events)
        return Answer.of(work, observed.events, observed.sightings)

    def _events(self, work: Work, frame: Frame, metadata: dict[str, Metadata]) -> tuple[MatchEvent, ...]:
        record = work.record
        reference = frame_reference(frame, record.topic, record.partition, record.offset)
        age_ms = round((now_us() - frame.arrived_at_us) / 1_000, 3)
        self._metrics.still_regions.inc(len(work.reused_from))
        timings_ms = {**work.timings_ms(), "age": age_ms}
        events = []
        for number, region in enumerate(work.regions):
            decision = work.decisions[number]
            self._metrics.decisions.labels(decision.kind).inc()
            product, state = _product(decision, metadata)
            if product:
                self._metrics.metadata.labels(state).inc()
            events.append(
                MatchEvent(
                    schema="match.v1",
                    id=region_event_id(reference, region),
                    frame=reference,
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
                    reused_from=work.reused_from.get(number),
                )
            )
        return tuple(events)


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
