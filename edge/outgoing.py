"""A frame on its way out of the edge: what a camera's process handed over, and what the outbox sends."""

from dataclasses import dataclass

from framematch.core.frames import Frame


@dataclass(frozen=True)
class Outgoing:
    """One encoded frame; by the monotonic clock, when it came from its source and when it was encoded."""

    frame: Frame
    jpeg: bytes
    grabbed_s: float
    encoded_s: float | None = None
