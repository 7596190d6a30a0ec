"""Where the frames of cameras go: to Kafka's outboxes, or to the counters of a dry run."""

from dataclasses import dataclass
from typing import Protocol

from edge.stats import CameraStats
from framematch.core.frames import Frame


@dataclass(frozen=True)
class Outgoing:
    """One encoded frame. Monotonic times: when it was read from its source, and when it was encoded."""

    frame: Frame
    jpeg: bytes
    grabbed_s: float
    encoded_s: float | None = None


class FrameSink(Protocol):
    """Takes the frames of one camera."""

    @property
    def spooled_frames(self) -> int:
        """Frames that wait on disk."""

    @property
    def spooled_bytes(self) -> int:
        """Bytes of the JPEGs on disk."""

    async def put(self, outgoing: Outgoing) -> None:
        """Take a frame: publish it or count it as dropped. CancelledError means that it was not taken.

        A cancellation that comes too late takes effect after `put` has returned, at the caller's next `await`.
        """

    async def drained(self) -> None:
        """Return when it holds no frame any more."""


class FrameSinks(Protocol):
    """The sinks of all cameras; the service's is `edge.outbox.dispatcher.Dispatcher`."""

    def outbox(self, camera: str, stats: CameraStats, /, *, live: bool) -> FrameSink:
        """The sink of a camera, which counts in `stats` from now on. A source that is not `live` may have to wait."""

    async def remove(self, camera: str) -> None:
        """Close the sink of a camera, which is drained."""
