"""The statistics of one camera: what became of its frames, and the state of its source."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from prometheus_client import Counter as PrometheusCounter

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

    at_s: float = 0.0
    source_frames: int = 0
    captured: int = 0
    still: int = 0
    published: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    reconnects: int = 0
    last_frame_at_s: float | None = None
    closed_because: str | None = "starting"
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
        self._published = 0
        self._drops: Counter[str] = Counter()
        self._was_open = False
        self._state = StatsSnapshot()  # all values but the two that change with every frame

    def opened(self, resolution: tuple[int, int]) -> None:
        """The source opened, with pictures of `resolution` (width, height). Every time but the first is a reconnect."""
        reconnects = self._state.reconnects + self._was_open
        if self._was_open:
            self._metrics.reconnects.inc()
        self._was_open = True
        self._state = replace(self._state, closed_because=None, resolution=resolution, reconnects=reconnects)
        self._metrics.up.set(1)
        self._on_change()

    def closed(self, reason: str) -> None:
        """The source is not open. Operators see `reason`, which holds no secret."""
        self._state = replace(self._state, closed_because=reason)
        self._metrics.up.set(0)
        self._on_change()

    def add_counts(self, before: Counts, now: Counts) -> None:
        """Add what the camera's process counted between two moments."""
        state, metrics = self._state, self._metrics
        last_frame_at_s = now.last_frame_ns / NS_PER_S if now.last_frame_ns else state.last_frame_at_s
        self._state = replace(
            state,
            source_frames=state.source_frames + _count(metrics.source_frames, now.source_frames - before.source_frames),
            captured=state.captured + _count(metrics.captured, now.captured - before.captured),
            still=state.still + _count(metrics.still, now.still - before.still),
            last_frame_at_s=last_frame_at_s,
            lag_s=now.lag_us / US_PER_S,
        )
        for count, (stage, reason) in _DROPS.items():
            if new := now.of(count) - before.of(count):
                self.dropped(stage, reason, new)
        metrics.lag_seconds.set(self._state.lag_s)

    def set_clock(self, clock: Clock) -> None:
        """Which clock the capture time of the last frame is by."""
        if clock != self._state.clock:
            self._state = replace(self._state, clock=clock)

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
        self._state = replace(self._state, spooled_frames=frames, spooled_bytes=size_bytes)
        self._metrics.spooled_frames.set(frames)
        self._metrics.spooled_bytes.set(size_bytes)

    def snapshot(self) -> StatsSnapshot:
        """All values at this moment."""
        return replace(self._state, at_s=self._clock(), published=self._published, drops=dict(self._drops))


def _count(counter: PrometheusCounter, number: int) -> int:
    counter.inc(number)
    return number
