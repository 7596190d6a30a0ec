"""Where the frames of cameras go: to Kafka's outboxes, or to the counters of a dry run."""

from typing import Protocol

from edge.outgoing import Outgoing
from edge.stats import CameraStats


class FrameSink(Protocol):
    """Takes the frames of one camera."""

    @property
    def spooled_frames(self) -> int:
        """Frames that wait on disk."""

    @property
    def spooled_bytes(self) -> int:
        """Bytes of the JPEGs on disk."""

    async def put(self, outgoing: Outgoing) -> None:
        """Take a frame and account for it. CancelledError means that it was not taken.

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
