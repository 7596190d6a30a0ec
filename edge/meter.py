"""Keeps the account of one camera: what became of its frames, and how its source is doing."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter as PrometheusCounter

from edge.link.area import Count, Counts
from edge.metrics import CameraMetrics
from framematch.core.frames import Clock

_NS_PER_S = 1e9
_US_PER_S = 1e6
# Where in a camera's process frames are given up, by the count that says how many.
_DROPS = {
    Count.CORRUPT: ("capture", "corrupt"),
    Count.OVERRUN: ("slot", "overrun"),
    Count.UNREADABLE: ("encode", "unreadable"),
    Count.TOO_LARGE: ("encode", "too_large"),
}


@dataclass(frozen=True)
class Reading:
    """The account at one moment. Counts are since the service started; `closed_because` is None while it is open.

    `last_frame_at_s` is the monotonic clock's. captured = published + dropped + spooled + those on their way.
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


class CameraMeter:
    """Counts in Prometheus and, for the status, exactly here. For the event loop alone.

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
        """The source is open, its pictures are `resolution` (width, height). Counts a reconnect when it was before."""
        self._closed_because = None
        self._resolution = resolution
        if self._was_open:
            self._reconnects += 1
            self._metrics.reconnects.inc()
        self._was_open = True
        self._metrics.up.set(1)
        self._on_change()

    def closed(self, reason: str) -> None:
        """The source is not open, and why; `reason` is shown to operators and holds no secret."""
        self._closed_because = reason
        self._metrics.up.set(0)
        self._on_change()

    def absorb(self, before: Counts, now: Counts) -> None:
        """Take over what the camera's process has counted between these two moments."""
        self._source_frames += self._more(self._metrics.source_frames, now.source_frames - before.source_frames)
        self._captured += self._more(self._metrics.captured, now.captured - before.captured)
        self._still += self._more(self._metrics.still, now.still - before.still)
        for count, (stage, reason) in _DROPS.items():
            if new := now.of(count) - before.of(count):
                self.dropped(stage, reason, new)
        self._last_frame_ns = now.last_frame_ns or self._last_frame_ns
        self._lag_s = now.lag_us / _US_PER_S
        self._metrics.lag_seconds.set(self._lag_s)

    def timed_by(self, clock: Clock) -> None:
        """Which clock the last frame's capture time is by."""
        self._frame_clock = clock

    def published(self, size_bytes: int, seconds: float) -> None:
        """Kafka acknowledged a frame, `seconds` after it was grabbed."""
        self._published += 1
        self._metrics.published.inc()
        self._metrics.published_bytes.inc(size_bytes)
        self._metrics.publish_seconds.observe(seconds)

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Frames were given up at `stage`."""
        self._drops[reason] += count
        self._metrics.dropped(stage, reason).inc(count)

    def spooled(self, frames: int, size_bytes: int) -> None:
        """So much waits on disk now."""
        self._spooled = frames, size_bytes
        self._metrics.spooled_frames.set(frames)
        self._metrics.spooled_bytes.set(size_bytes)

    def read(self) -> Reading:
        """All figures of one moment."""
        return Reading(
            at_s=self._clock(),
            source_frames=self._source_frames,
            captured=self._captured,
            still=self._still,
            published=self._published,
            drops=dict(self._drops),
            reconnects=self._reconnects,
            last_frame_at_s=self._last_frame_ns / _NS_PER_S if self._last_frame_ns else None,
            closed_because=self._closed_because,
            spooled_frames=self._spooled[0],
            spooled_bytes=self._spooled[1],
            lag_s=self._lag_s,
            clock=self._frame_clock,
            resolution=self._resolution,
        )

    @staticmethod
    def _more(counter: PrometheusCounter, number: int) -> int:
        counter.inc(number)
        return number
