"""The statistics of one camera: what became of its frames, and the state of its source."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge.link.shared_buffer import Count, Counts
from edge.metrics import CameraMetrics
from framematch.core.frames import Clock
from framematch.core.units import NS_PER_S, US_PER_S

# The stage and reason under which the drops of a camera's process are reported.
_DROPS = {
    Count.CORRUPT: ("capture", "corrupt"),
    Count.OVERRUN: ("slot", "overrun"),
    Count.UNREADABLE: ("encode", "unreadable"),
    Count.TOO_LARGE: ("encode", "too_large"),
}


@dataclass(frozen=True)
class StatsSnapshot:
    """The statistics at one moment. Counts are since the service started; `closed_because` is None while it is open.

    `last_frame_at_s` is by the monotonic clock. captured = published + dropped + spooled + those in memory.
    """

    at_s: float
    source_frames: int
    published: int
    drops: dict[str, int]
    reconnects: int
    last_frame_at_s: float | None
    closed_because: str | None
    captured: int = 0
    still: int = 0
    spooled_frames: int = 0
    spooled_bytes: int = 0
    lag_s: float = 0.0
    clock: Clock | None = None
    resolution: tuple[int, int] | None = None


class CameraStats:
    """Counts for the camera's status and, in step, for Prometheus. For the event loop alone.

    `on_change` is called when the source opens or closes.
    """

    def __init__(
        self,
        camera: str,
        metrics: CameraMetrics,
        on_change: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.camera = camera
        self._metrics = metrics
        self._on_change = on_change
        self._clock = clock
        self._source_frames = 0
        self._captured = 0
        self._still = 0
        self._last_frame_ns = 0
        self._lag_s = 0.0
        self._published = 0
        self._drops: Counter[str] = Counter()
        self._reconnects = 0
        self._closed_because: str | None = "starting"
        self._was_open = False
        self._spooled = 0, 0
        self._frame_clock: Clock | None = None
        self._resolution: tuple[int, int] | None = None

    def opened(self, resolution: tuple[int, int]) -> None:
        """The source opened, with pictures of `resolution` (width, height). Every time but the first is a reconnect."""
        self._closed_because = None
        self._resolution = resolution
        if self._was_open:
            self._reconnects += 1
            self._metrics.reconnects.inc()
        self._was_open = True
        self._metrics.up.set(1)
        self._on_change()

    def closed(self, reason: str) -> None:
        """The source is not open. Operators see `reason`, which holds no secret."""
        self._closed_because = reason
        self._metrics.up.set(0)
        self._on_change()

    def add_counts(self, before: Counts, now: Counts) -> None:
        """Add what the camera's process counted between two moments."""
        self._source_frames += now.source_frames - before.source_frames
        self._captured += now.captured - before.captured
        self._still += now.still - before.still
        self._metrics.source_frames.inc(now.source_frames - before.source_frames)
        self._metrics.captured.inc(now.captured - before.captured)
        self._metrics.still.inc(now.still - before.still)
        for count, (stage, reason) in _DROPS.items():
            if new := now.of(count) - before.of(count):
                self.dropped(stage, reason, new)
        self._last_frame_ns = now.last_frame_ns or self._last_frame_ns
        self._lag_s = now.lag_us / US_PER_S
        self._metrics.lag_seconds.set(self._lag_s)

    def set_clock(self, clock: Clock) -> None:
        """Which clock the capture time of the last frame is by."""
        self._frame_clock = clock

    def published(self, size_bytes: int, seconds: float) -> None:
        """Kafka acknowledged a frame, `seconds` after it was grabbed."""
        self._published += 1
        self._metrics.published.inc()
        self._metrics.published_bytes.inc(size_bytes)
        self._metrics.publish_seconds.observe(seconds)

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Frames were dropped at `stage`."""
        self._drops[reason] += count
        self._metrics.dropped(stage, reason).inc(count)

    def set_spooled(self, frames: int, size_bytes: int) -> None:
        """How much waits on disk now."""
        self._spooled = frames, size_bytes
        self._metrics.spooled_frames.set(frames)
        self._metrics.spooled_bytes.set(size_bytes)

    def snapshot(self) -> StatsSnapshot:
        """All values at this moment."""
        return StatsSnapshot(
            at_s=self._clock(),
            source_frames=self._source_frames,
            captured=self._captured,
            still=self._still,
            published=self._published,
            drops=dict(self._drops),
            reconnects=self._reconnects,
            last_frame_at_s=self._last_frame_ns / NS_PER_S if self._last_frame_ns else None,
            closed_because=self._closed_because,
            spooled_frames=self._spooled[0],
            spooled_bytes=self._spooled[1],
            lag_s=self._lag_s,
            clock=self._frame_clock,
            resolution=self._resolution,
        )
