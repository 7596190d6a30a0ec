"""The records that an answer becomes: match events, sightings, a dead letter."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import structlog

from consumers.delivery.deadletter import dead_letter
from consumers.stages.answers import Answer
from consumers.watch.trace import trace_frame
from consumers.work import Work
from framematch.core.errors import BadFrameError
from framematch.core.events import (
    MatchEvent,
    ProductInfo,
    SightingEvent,
    encode,
    match_headers,
    sighting_headers,
)
from framematch.core.kafka.clients import HEADROOM_BYTES
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.core.tracing import Tracer

log = structlog.get_logger()

_EVENT_BYTES = 900_000  # below the 1,000,000 that a broker takes unless it is told otherwise
_NAME_CHARACTERS = 1_000  # of the name of a product that is trimmed

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Output:
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class Outputs:
    """Turns answers into records, none of which the broker refuses for its size."""

    def __init__(self, kafka: KafkaSettings, *, group_id: str, tracer: Tracer | None = None) -> None:
        self._group_id = group_id
        self._tracer = tracer
        self._topics = Topics(kafka.topic_prefix)
        self._largest_letter_bytes = kafka.max_message_bytes + HEADROOM_BYTES

    def of(self, answer: Answer) -> list[Output]:
        """What is published of `answer`, in this order; nothing of a frame that was skipped. Call it once for each."""
        if answer.work is not None and answer.work.bad is not None:
            return [self._dead_letter(answer.work, answer.work.bad)]
        return list(self._events(answer, to_rfc3339(now_us())))

    def _events(self, answer: Answer, at: str) -> Iterator[Output]:
        traceparent = self._traced(answer.work) if answer.work and answer.events else None
        for event in answer.events:
            yield Output(self._topics.matches, answer.key, _encoded(event), match_headers(event, at, traceparent))
        for sighting in answer.sightings:
            yield Output(self._topics.sightings, answer.key, _encoded(sighting), sighting_headers(sighting, at))

    def _traced(self, work: Work) -> str | None:
        if work.frame is None or self._tracer is None:
            return work.frame.traceparent if work.frame else None
        return trace_frame(self._tracer, work, work.frame, group_id=self._group_id)

    def _dead_letter(self, work: Work, bad: BadFrameError) -> Output:
        record = work.record
        log.warning(
            "frame_deadlettered", stage=work.bad_stage, reason=bad.reason, error=bad.message,
            partition=record.partition, offset=record.offset,
        )  # fmt: skip
        letter = dead_letter(record, work.bad_stage, bad, max_bytes=self._largest_letter_bytes)
        return Output(self._topics.deadletter, letter.key, letter.value, letter.headers)


def _encoded(event: MatchEvent | SightingEvent) -> bytes:
    """The event as JSON; without what describes its product in detail, when it would be too large for a record."""
    value, product = encode(event), event.product
    if len(value) <= _EVENT_BYTES or product is None:
        return value
    log.warning("event_trimmed", product=product.id, event_id=event.id)
    if isinstance(event, MatchEvent):
        event = replace(event, metadata_state="missing")
    return encode(replace(event, product=_without_details(product)))


def _without_details(product: ProductInfo) -> ProductInfo:
    category = product.category and product.category[:_NAME_CHARACTERS]
    return ProductInfo(product.id, product.name[:_NAME_CHARACTERS], category, product.price)
