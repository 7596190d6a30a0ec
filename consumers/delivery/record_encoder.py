"""Encodes a result as records: match events and sightings, or a dead letter."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

import structlog

from consumers.in_flight_frame import InFlightFrame, Rejected
from consumers.stages.results import FrameResult
from framematch.core import exact_json
from framematch.core.cloud_events import match_headers, sighting_headers
from framematch.core.deadletters import dead_letter
from framematch.core.events import MatchEvent, ProductInfo, SightingEvent, SkuInfo, encode
from framematch.core.frames import Frame
from framematch.core.kafka.clients import HEADROOM_BYTES
from framematch.core.kafka.records import ProducerRecord
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.core.tracing import Tracer

log = structlog.get_logger()

_MAX_EVENT_BYTES = 900_000  # below a broker's default limit of 1,000,000 for a record
_MAX_NAME_CHARACTERS = 1_000  # of a trimmed product's name and category
_MAX_TRIMMED_SKUS_BYTES = 200_000  # of the ids; the candidates of the event may be as large as the rest


class RecordEncoder:
    """Encodes results as records, none of which exceeds the size that the broker accepts."""

    def __init__(self, kafka: KafkaSettings, *, group_id: str, tracer: Tracer | None = None) -> None:
        self._group_id = group_id
        self._tracer = tracer
        self._topics = Topics(kafka.topic_prefix)
        self._max_dead_letter_bytes = kafka.max_message_bytes + HEADROOM_BYTES

    def encode(self, result: FrameResult) -> list[ProducerRecord]:
        """The records of `result`, in the order to send; none for a skipped frame.

        Call it once for each result, as it also records the frame's span.
        """
        if result.frame is not None and isinstance(result.frame.outcome, Rejected):
            return [self._dead_letter(result.frame, result.frame.outcome)]
        return list(self._events(result, to_rfc3339(now_us())))

    def _events(self, result: FrameResult, at: str) -> Iterator[ProducerRecord]:
        traceparent = self._traceparent(result.frame) if result.frame and result.events else None
        for event in result.events:
            headers = match_headers(event, at, traceparent)
            yield ProducerRecord(self._topics.matches, result.key, _encode_event(event), headers)
        for sighting in result.sightings:
            headers = sighting_headers(sighting, at)
            yield ProducerRecord(self._topics.sightings, result.key, _encode_event(sighting), headers)

    def _traceparent(self, frame: InFlightFrame) -> str | None:
        if frame.header is None or self._tracer is None:
            return frame.header.traceparent if frame.header else None
        return trace_frame(self._tracer, frame, frame.header, group_id=self._group_id)

    def _dead_letter(self, frame: InFlightFrame, rejected: Rejected) -> ProducerRecord:
        record, error = frame.record, rejected.error
        log.warning(
            "frame_deadlettered", stage=rejected.stage, reason=error.reason, error=error.message,
            partition=record.partition, offset=record.offset,
        )  # fmt: skip
        return dead_letter(
            record, rejected.stage, error, topic=self._topics.deadletter, max_bytes=self._max_dead_letter_bytes
        )


def _encode_event(event: MatchEvent | SightingEvent) -> bytes:
    """The event as JSON; without its product's details when it would be too large for a record."""
    value, product = encode(event), event.product
    if len(value) <= _MAX_EVENT_BYTES or product is None:
        return value
    trimmed = _without_details(product)
    log.warning(
        "event_trimmed", product=product.id, event_id=event.id, skus_left_out=len(product.skus) - len(trimmed.skus)
    )
    if isinstance(event, MatchEvent):
        event = replace(event, metadata_state="missing")
    return encode(replace(event, product=trimmed))


def _without_details(product: ProductInfo) -> ProductInfo:
    """The product with the ids of its articles, as many as fit into `_MAX_TRIMMED_SKUS_BYTES`."""
    category = product.category and product.category[:_MAX_NAME_CHARACTERS]
    skus = [SkuInfo(sku.id) for sku in product.skus]
    ends = accumulate(len(exact_json.encode(sku)) + 1 for sku in skus)
    fitting = sum(end <= _MAX_TRIMMED_SKUS_BYTES for end in ends)
    return ProductInfo(
        product.id,
        product.name[:_MAX_NAME_CHARACTERS],
        category,
        product.price,
        currency=product.currency,
        skus=tuple(skus[:fitting]),
    )


def trace_frame(tracer: Tracer, frame: InFlightFrame, header: Frame, *, group_id: str) -> str:
    """Record the span of a frame that is published.

    Returns:
        The `traceparent` for the frame's match events.
    """
    record = frame.record
    return tracer.frame(
        header.traceparent,
        frame.spans,
        {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.consumer.group.name": group_id,
            "messaging.message.id": header.id,
            "messaging.message.body.size": len(record.value or b""),
            "framematch.camera": header.camera,
            "framematch.frame.id": header.id,
            "framematch.frame.replayed": header.replayed,
            "framematch.regions": len(frame.regions),
        },
    )
