"""A frame that leaves the edge: what a camera's process delivers, and what its outbox sends to Kafka."""

from dataclasses import dataclass

from framematch.core.frames import Frame


@dataclass(frozen=True)
class Outgoing:
    """One encoded frame. Monotonic times: when it was read from its source, and when it was encoded."""

    frame: Frame
    jpeg: bytes
    grabbed_s: float
    encoded_s: float | None = None
