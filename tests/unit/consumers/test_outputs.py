"""What is published of an answer: every record fits, keeps the schema, and carries the frame's trace."""

from dataclasses import replace
from typing import Any

import jsonschema
import msgspec
import pytest
from aiokafka import TopicPartition
from bson import Decimal128, ObjectId
from structlog.testing import capture_logs

from consumers.delivery.outputs import Output, Outputs
from consumers.in_flight_frame import InFlightFrame, Skipped
from consumers.stages.results import FrameResult
from framematch.core.events import ProductInfo, json_schema
from framematch.core.frames import Frame
from framematch.core.settings import KafkaSettings
from framematch.core.spans import Span, TraceContext
from framematch.core.tracing import Tracer
from tests.sample_events import match_event, sighting_event
from tests.unit.consumers.sample_frames import TRUNCATED, record

HEADER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
LARGEST = 1_000_000  # what a broker takes
OUTPUTS = Outputs(KafkaSettings(), group_id="g")


def fetched(**fields: Any) -> InFlightFrame:
    frame = Frame("till-1", 1_000_000, 7, traceparent=HEADER)
    return InFlightFrame(record(7), "till-1", 100, frame, ((0, 0, 9, 9),), **fields)


def published(product: ProductInfo) -> list[Output]:
    """A match event and a sighting that show `product`."""
    event, sighting = replace(match_event(), product=product), replace(sighting_event(), product=product)
    return OUTPUTS.of(FrameResult.of(fetched(), (event,), (sighting,)))


def kept_schema(output: Output) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(output.value or b"")
    jsonschema.validate(found, json_schema(found["schema"]))
    return found


@pytest.mark.parametrize(
    "large",
    [
        ProductInfo("milk", "Milk", "Dairy", 1.5, "x" * 2_000_000),
        ProductInfo("milk", "Milk", "Dairy", 1.5, attributes={"shelf": "x" * 2_000_000}),
        ProductInfo("milk", "Milk" + "x" * 2_000_000, "Dairy" + "x" * 2_000_000, 1.5),
    ],
    ids=["description", "attributes", "names"],
)
def test_a_product_too_large_for_a_record_is_shown_without_its_details(large: ProductInfo) -> None:
    with capture_logs() as logs:
        outputs = published(large)
    assert [line["event"] for line in logs] == ["event_trimmed", "event_trimmed"]
    assert [len(output.value or b"") < LARGEST for output in outputs] == [True, True]
    match, sighting = map(kept_schema, outputs)
    assert match["metadata_state"] == "missing"
    for shown in (match["product"], sighting["product"]):
        assert (shown["id"], shown["name"][:4], shown["category"][:5], shown["price"]) == ("milk", "Milk", "Dairy", 1.5)
        assert (shown["description"], shown["attributes"]) == (None, {})


def test_a_product_that_fits_is_shown_whole() -> None:
    whole = ProductInfo("milk", "Milk", "Dairy", 1.5, "x" * 500_000, {"shelf": "B4"})
    assert [kept_schema(output)["product"] for output in published(whole)] == [msgspec.to_builtins(whole)] * 2


def test_attributes_that_json_has_no_type_for_are_text() -> None:
    odd = {"supplier": ObjectId("0123456789abcdef01234567"), "weight": Decimal128("1.50"), "share": float("nan")}
    for output in published(ProductInfo("milk", "Milk", attributes=odd)):
        shown = kept_schema(output)["product"]["attributes"]
        assert shown == {"supplier": "0123456789abcdef01234567", "weight": "1.50", "share": None}


def test_the_frames_trace_goes_on_in_its_match_events() -> None:
    (output,) = OUTPUTS.of(FrameResult.of(fetched(), (match_event(),)))
    assert dict(output.headers)["traceparent"] == HEADER.encode()


def test_with_a_tracer_match_events_hang_beneath_the_consumers_span() -> None:
    spans: list[Span] = []
    outputs = Outputs(KafkaSettings(), group_id="g", tracer=Tracer(spans.append))
    (output,) = outputs.of(FrameResult.of(fetched(spans={"infer": (1, 2)}), (match_event(),)))
    assert dict(output.headers)["traceparent"].decode() == str(spans[0].context)
    assert spans[0].parent == TraceContext.parse(HEADER)


def test_a_skipped_frame_publishes_nothing() -> None:
    assert OUTPUTS.of(FrameResult.of(fetched(outcome=Skipped("age")))) == []


def test_a_bad_frame_is_a_dead_letter_under_its_own_key() -> None:
    (output,) = OUTPUTS.of(FrameResult.of(fetched(outcome=TRUNCATED)))
    assert (output.topic, output.key, output.value) == ("framematch.deadletter", b"till-1", b"jpeg")
    assert dict(output.headers)["deadletter_reason"] == b"truncated"


def test_the_end_of_a_sighting_by_silence_needs_no_frame() -> None:
    ended = sighting_event("ended")
    (output,) = OUTPUTS.of(FrameResult(TopicPartition("framematch.frames", 0), b"till-1", None, sightings=(ended,)))
    assert (output.topic, output.key) == ("framematch.sightings", b"till-1")
