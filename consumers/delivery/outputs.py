"""The records that an answer becomes: match events, sightings, a dead letter."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import structlog

from consumers.delivery.deadletter import dead_letter
from consumers.in_flight_frame import InFlightFrame, Rejected
from consumers.stages.results import FrameResult
from consumers.stages.trace import trace_frame
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

    def of(self, answer: FrameResult) -> list[Output]:
        """What is published of `answer`, in this order; nothing of a frame that was skipped. Call it once for each."""
        if answer.frame is not None and isinstance(answer.frame.outcome, Rejected):
            return [self._dead_letter(answer.frame, answer.frame.outcome)]
        return list(self._events(answer, to_rfc3339(now_us())))

    def _events(self, answer: FrameResult, at: str) -> Iterator[Output]:
        traceparent = self._traced(answer.frame) if answer.frame and answer.events else None
        for event in answer.events:
            yield Output(self._topics.matches, answer.key, _encoded(event), match_headers(event, at, traceparent))
        for sighting in answer.sightings:
            yield Output(self._topics.sightings, answer.key, _encoded(sighting), sighting_headers(sighting, at))

    def _traced(self, frame: InFlightFrame) -> str | None:
        if frame.header is None or self._tracer is None:
            return frame.header.traceparent if frame.header else None
        return trace_frame(self._tracer, frame, frame.header, group_id=self._group_id)

    def _dead_letter(self, frame: InFlightFrame, rejected: Rejected) -> Output:
        record, bad = frame.record, rejected.error
        log.warning(
            "frame_deadlettered", stage=rejected.stage, reason=bad.reason, error=bad.message,
            partition=record.partition, offset=record.offset,
        )  # fmt: skip
        letter = dead_letter(record, rejected.stage, bad, max_bytes=self._largest_letter_bytes)
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
