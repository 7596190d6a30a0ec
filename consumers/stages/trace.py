"""The tracing span of a frame in the consumer, with its stages and attributes."""

from consumers.in_flight_frame import InFlightFrame
from framematch.core.frames import Frame
from framematch.core.tracing import Tracer


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
