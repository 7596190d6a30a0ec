"""The tracing span of a consumed frame."""

from aiokafka import ConsumerRecord

from consumers.delivery.record_encoder import trace_frame
from consumers.in_flight_frame import InFlightFrame
from framematch.core.frames import Frame
from framematch.core.tracing import Span, TraceContext, Tracer

HEADER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
FRAME = Frame("till-1", 1_000_000, 7, traceparent=HEADER)
RECORD = ConsumerRecord("p.frames", 3, 41, 1_000, 0, b"till-1", b"jpeg", 0, 6, 4, ())
IN_FLIGHT = InFlightFrame(
    RECORD, "till-1", 100, FRAME, ((0, 0, 9, 9),), spans={"wait": (100, 200), "infer": (300, 400)}
)


def test_it_is_a_child_of_the_edges_span_with_the_frames_attributes() -> None:
    spans: list[Span] = []
    header = trace_frame(Tracer(spans.append), IN_FLIGHT, FRAME, group_id="g")
    span = spans[0]
    assert (span.parent, str(span.context)) == (TraceContext.parse(HEADER), header)
    assert (span.started_ns, span.ended_ns) == (100, 400)
    assert span.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "p.frames",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 41,
        "messaging.consumer.group.name": "g",
        "messaging.message.id": FRAME.id,
        "messaging.message.body.size": 4,
        "framematch.camera": "till-1",
        "framematch.frame.id": FRAME.id,
        "framematch.frame.replayed": False,
        "framematch.regions": 1,
    }
