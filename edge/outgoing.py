"""A frame on its way out of the edge: what a camera's process handed over, and what the outbox sends."""

from dataclasses import dataclass

from framematch.core.frames import Frame


@dataclass(frozen=True)
class Outgoing:
    """One encoded frame; `grabbed_s` is the monotonic clock's time when it came from its source."""

    frame: Frame
    jpeg: bytes
    grabbed_s: float
