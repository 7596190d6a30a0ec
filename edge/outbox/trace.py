"""The root of a frame's trace: from the camera's grab to Kafka's acknowledgement."""

import time

from edge.outbox.way import Entry
from framematch.core.tracing import TraceContext, Tracer

_NS_PER_S = 1_000_000_000


def trace_published(tracer: Tracer, entry: Entry, topic: str, *, acknowledged_s: float) -> None:
    """Record the frame's root span now that it is acknowledged; what happened to it before is beneath.

    `encode`: from the grab, with the wait for the encoder. `spool`, instead of it, when the frame was on disk.
    `publish`: from the last time that it was sent.
    """
    context = TraceContext.parse(entry.frame.traceparent)
    if context is None or not context.sampled:
        return
    now_ns = time.time_ns()

    def at_ns(monotonic_s: float) -> int:
        return now_ns - int((acknowledged_s - monotonic_s) * _NS_PER_S)

    first, ended_s = ("spool", entry.sent_s) if entry.encoded_s is None else ("encode", entry.encoded_s)
    stages = {first: (at_ns(entry.grabbed_s), at_ns(ended_s)), "publish": (at_ns(entry.sent_s), now_ns)}
    tracer.captured(
        context,
        stages,
        {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
            "messaging.message.id": entry.frame.id,
            "messaging.message.body.size": len(entry.jpeg),
            "framematch.camera": entry.frame.camera,
            "framematch.frame.id": entry.frame.id,
            "framematch.frame.replayed": entry.frame.replayed,
        },
    )
