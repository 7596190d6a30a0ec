"""The records that an answer becomes: match events, sightings, a dead letter."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import structlog

from consumers.answers import Answer
from consumers.deadletter import dead_letter
from consumers.trace import trace_frame
from consumers.work import Work
from framematch.core.errors import BadFrameError
from framematch.core.events import (
    MatchEvent,
    encode,
    match_headers,
    sighting_headers,
)
from framematch.core.kafka import HEADROOM_BYTES
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.core.topics import Topics
from framematch.core.tracing import Tracer

log = structlog.get_logger()

_EVENT_BYTES = 900_000  # below the 1,000,000 that a broker takes unless it is told otherwise

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
            value = encode(event)
            if len(value) > _EVENT_BYTES:
                value = encode(_without_details(event))
            yield Output(self._topics.matches, answer.key, value, match_headers(event, at, traceparent))
        for sighting in answer.sightings:
            yield Output(self._topics.sightings, answer.key, encode(sighting), sighting_headers(sighting, at))

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
        return Output(self._topics.deadletter, record.key, letter.value, letter.headers)


def _without_details(event: MatchEvent) -> MatchEvent:
    """An event whose product's description and attributes are too large for a record, without them."""
    if event.product is None:
        return event
    log.warning("event_trimmed", product=event.product.id, frame=event.frame.id)
    product = replace(event.product, description=None, attributes={})
    return replace(event, product=product, metadata_state="missing")
