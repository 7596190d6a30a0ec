"""What the span of a consumed frame says."""

from aiokafka import ConsumerRecord

from consumers.watch.trace import trace_frame
from consumers.work import Work
from framematch.core.frames import Frame
from framematch.core.tracing import Span, TraceContext, Tracer

HEADER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
FRAME = Frame("till-1", 1_000_000, 7, traceparent=HEADER)
RECORD = ConsumerRecord("p.frames", 3, 41, 1_000, 0, b"till-1", b"jpeg", 0, 6, 4, ())
WORK = Work(RECORD, "till-1", 1, 100, FRAME, ((0, 0, 9, 9),), spans={"wait": (100, 200), "infer": (300, 400)})


def test_it_hangs_beneath_the_edges_span_and_says_where_the_frame_lay() -> None:
    spans: list[Span] = []
    header = trace_frame(Tracer(spans.append), WORK, FRAME, group_id="g")
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
