"""The span of a frame in the consumer: its stages, and what is known of it."""

from consumers.work import Work
from framematch.core.frames import Frame
from framematch.core.tracing import Tracer


def trace_frame(tracer: Tracer, work: Work, frame: Frame, *, group_id: str) -> str:
    """Record a frame that is answered.

    Returns:
        The `traceparent` for its match events.
    """
    record = work.record
    return tracer.frame(
        frame.traceparent,
        work.spans,
        {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.consumer.group.name": group_id,
            "messaging.message.id": frame.id,
            "messaging.message.body.size": len(record.value or b""),
            "framematch.camera": frame.camera,
            "framematch.frame.id": frame.id,
            "framematch.frame.replayed": frame.replayed,
            "framematch.regions": len(work.regions),
        },
    )
