"""Frames in memory: the root span of an acknowledged one."""

from dataclasses import replace

from edge.outbox.pending import PendingFrame, Window
from framematch.core.frames import Frame
from framematch.core.tracing import Span, TraceContext, Tracer

SECOND_NS = 1_000_000_000
CONTEXT = TraceContext.new()
FRAME = Frame("till-1", 1_000_000, 7, traceparent=str(CONTEXT))
PENDING = PendingFrame(1, Window(1, 1), FRAME, b"jpeg", grabbed_s=10.0, encoded_s=10.5, sent_s=11.0)


def spans_of(pending: PendingFrame) -> list[Span]:
    """What is recorded of a frame acknowledged two seconds after it was grabbed."""
    spans: list[Span] = []
    pending.trace(Tracer(spans.append), "p.frames", acknowledged_s=12.0)
    return spans


def seconds(spans: list[Span]) -> dict[str, tuple[float, float]]:
    """Start and end of each, relative to the start of the first."""
    start_ns = spans[0].started_ns
    return {
        span.name: ((span.started_ns - start_ns) / SECOND_NS, (span.ended_ns - start_ns) / SECOND_NS) for span in spans
    }


def test_the_root_span_has_the_ids_of_the_header_and_lasts_from_grab_to_acknowledgement() -> None:
    spans = spans_of(PENDING)
    assert spans[0].context == CONTEXT
    assert seconds(spans) == {"framematch capture": (0, 2), "encode": (0, 0.5), "publish": (1, 2)}
    assert spans[0].attributes["framematch.frame.id"] == FRAME.id
    assert spans[0].attributes["messaging.destination.name"] == "p.frames"
    assert spans[0].attributes["messaging.message.body.size"] == 4


def test_a_spooled_frame_shows_how_long_it_was_on_disk() -> None:
    spans = spans_of(replace(PENDING, frame=replace(FRAME, replayed=True), encoded_s=None))
    assert seconds(spans) == {"framematch capture": (0, 2), "spool": (0, 1), "publish": (1, 2)}
    assert spans[0].attributes["framematch.frame.replayed"] is True


def test_a_frame_that_is_not_sampled_has_no_span() -> None:
    assert spans_of(replace(PENDING, frame=replace(FRAME, traceparent=str(TraceContext.new(0.0))))) == []


def test_a_frame_without_a_header_has_no_span() -> None:
    assert spans_of(replace(PENDING, frame=replace(FRAME, traceparent=None))) == []
