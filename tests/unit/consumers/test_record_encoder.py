"""The records of a result: each fits, has its schema, and carries the frame's trace."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import jsonschema
import msgspec
import pytest
from aiokafka import TopicPartition
from bson import Decimal128, ObjectId
from structlog.testing import capture_logs

from consumers.delivery.record_encoder import RecordEncoder
from consumers.in_flight_frame import InFlightFrame, Skipped
from consumers.stages.results import FrameResult
from framematch.core import exact_json
from framematch.core.events import ProductInfo, SkuInfo, json_schema
from framematch.core.frames import Frame
from framematch.core.kafka.records import ProducerRecord
from framematch.core.settings import KafkaSettings
from framematch.core.tracing import Span, TraceContext, Tracer
from tests.sample_events import match_event, sighting_event
from tests.unit.consumers.sample_frames import TRUNCATED
from tests.unit.consumers.sample_frames import record as frame_record

HEADER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
MAX_RECORD_BYTES = 1_000_000  # a broker's default limit
ENCODER = RecordEncoder(KafkaSettings(), group_id="g")


def in_flight(**fields: Any) -> InFlightFrame:
    frame = Frame("till-1", 1_000_000, 7, traceparent=HEADER)
    return InFlightFrame(frame_record(7), "till-1", 100, frame, ((0, 0, 9, 9),), **fields)


def encode_events(product: ProductInfo) -> list[ProducerRecord]:
    """The records of a match event and a sighting that show `product`."""
    event, sighting = replace(match_event(), product=product), replace(sighting_event(), product=product)
    return ENCODER.encode(FrameResult.of(in_flight(), (event,), (sighting,)))


def valid_event(record: ProducerRecord) -> dict[str, Any]:
    """The event in a record, checked against its schema."""
    found: dict[str, Any] = msgspec.json.decode(record.value or b"")
    jsonschema.validate(found, json_schema(found["schema"]))
    return found


@pytest.mark.parametrize(
    "large",
    [
        ProductInfo("milk", "Milk", "Dairy", Decimal("1.5"), "x" * 2_000_000),
        ProductInfo("milk", "Milk", "Dairy", Decimal("1.5"), attributes={"shelf": "x" * 2_000_000}),
        ProductInfo("milk", "Milk" + "x" * 2_000_000, "Dairy" + "x" * 2_000_000, Decimal("1.5")),
    ],
    ids=["description", "attributes", "names"],
)
def test_a_product_too_large_for_a_record_is_trimmed(large: ProductInfo) -> None:
    with capture_logs() as logs:
        records = encode_events(large)
    assert [entry["event"] for entry in logs] == ["event_trimmed", "event_trimmed"]
    assert [len(record.value or b"") < MAX_RECORD_BYTES for record in records] == [True, True]
    match, sighting = map(valid_event, records)
    assert match["metadata_state"] == "missing"
    for shown in (match["product"], sighting["product"]):
        assert (shown["id"], shown["name"][:4], shown["category"][:5], shown["price"]) == ("milk", "Milk", "Dairy", 1.5)
        assert (shown["description"], shown["attributes"]) == (None, {})


def test_a_trimmed_product_keeps_the_ids_of_its_articles() -> None:
    skus = tuple(SkuInfo(f"shirt-{number}", price=Decimal(9), options={"Text": "x" * 1_000}) for number in range(1_000))
    for record in encode_events(ProductInfo("shirt", "Shirt", currency="EUR", skus=skus)):
        shown = valid_event(record)["product"]
        assert ([sku["id"] for sku in shown["skus"]], shown["currency"]) == ([sku.id for sku in skus], "EUR")
        assert shown["skus"][0] == {"id": "shirt-0", "gtin": None, "price": None, "options": {}}


def test_too_many_ids_of_articles_are_cut_and_counted() -> None:
    skus = tuple(SkuInfo(f"{number:0999}") for number in range(2_000))
    with capture_logs() as logs:
        records = encode_events(ProductInfo("shirt", "Shirt", skus=skus))
    kept = [len(valid_event(record)["product"]["skus"]) for record in records]
    assert [entry["skus_left_out"] for entry in logs] == [2_000 - count for count in kept]
    assert [len(record.value or b"") < MAX_RECORD_BYTES for record in records] == [True, True]
    assert min(kept) > 100


def test_a_product_that_fits_is_not_trimmed() -> None:
    whole = ProductInfo("milk", "Milk", "Dairy", Decimal("1.5"), "x" * 500_000, {"shelf": "B4"})
    assert [valid_event(record)["product"] for record in encode_events(whole)] == [
        msgspec.json.decode(exact_json.encode(whole))
    ] * 2


def test_attributes_without_a_json_type_are_text() -> None:
    odd = {"supplier": ObjectId("0123456789abcdef01234567"), "weight": Decimal128("1.50"), "share": float("nan")}
    for record in encode_events(ProductInfo("milk", "Milk", attributes=odd)):
        shown = valid_event(record)["product"]["attributes"]
        assert shown == {"supplier": "0123456789abcdef01234567", "weight": "1.50", "share": None}


def test_match_events_carry_the_frames_trace() -> None:
    (encoded,) = ENCODER.encode(FrameResult.of(in_flight(), (match_event(),)))
    assert dict(encoded.headers)["traceparent"] == HEADER.encode()


def test_with_a_tracer_match_events_are_children_of_the_consumers_span() -> None:
    spans: list[Span] = []
    encoder = RecordEncoder(KafkaSettings(), group_id="g", tracer=Tracer(spans.append))
    (encoded,) = encoder.encode(FrameResult.of(in_flight(spans={"infer": (1, 2)}), (match_event(),)))
    assert dict(encoded.headers)["traceparent"].decode() == str(spans[0].context)
    assert spans[0].parent == TraceContext.parse(HEADER)


def test_a_skipped_frame_publishes_nothing() -> None:
    assert ENCODER.encode(FrameResult.of(in_flight(outcome=Skipped("age")))) == []


def test_a_bad_frame_is_a_dead_letter_under_its_own_key() -> None:
    (encoded,) = ENCODER.encode(FrameResult.of(in_flight(outcome=TRUNCATED)))
    assert (encoded.topic, encoded.key, encoded.value) == ("framematch.deadletter", b"till-1", b"jpeg")
    assert dict(encoded.headers)["deadletter_reason"] == b"truncated"


def test_a_sighting_ended_by_silence_needs_no_frame() -> None:
    ended = sighting_event("ended")
    (encoded,) = ENCODER.encode(
        FrameResult(TopicPartition("framematch.frames", 0), b"till-1", None, sightings=(ended,))
    )
    assert (encoded.topic, encoded.key) == ("framematch.sightings", b"till-1")
