"""The statistics of one camera: what became of its frames, and the state of its source."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from edge.link.shared_buffer import Count, Counts
from edge.metrics import CameraMetrics
from edge.snapshot import NEVER_CAPTURED, STARTING, StatsSnapshot
from framematch.core.frames import Clock
from framematch.core.units import NS_PER_S, US_PER_S

# The stage and reason under which the drops of a camera's process are reported.
_DROPS = {
    Count.CORRUPT: ("capture", NEVER_CAPTURED),
    Count.OVERRUN: ("slot", "overrun"),
    Count.UNREADABLE: ("encode", "unreadable"),
    Count.TOO_LARGE: ("encode", "too_large"),
}


class CameraStats:
    """Counts for the camera's status and for Prometheus. For the event loop alone.

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
        self._published = self._published_bytes = 0
        self._drops: Counter[tuple[str, str]] = Counter()
        self._was_open = False
        self._state = StatsSnapshot()  # all values but those that change with every frame
        metrics.show(self)

    def add_again(self) -> None:
        """The camera was removed and is added again: its counts go on, and its source is to be opened."""
        self._was_open = False
        self._state = replace(
            self._state,
            closed_because=STARTING,
            lag_s=0.0,
            clock=None,
            resolution=None,
            decoder=None,
            decoder_reason=None,
        )
        self._metrics.show(self)

    def opened(self, resolution: tuple[int, int]) -> None:
        """The source opened, with pictures of `resolution` (width, height). Every time but the first is a reconnect."""
        reconnects = self._state.reconnects + self._was_open
        self._was_open = True
        self._state = replace(self._state, closed_because=None, resolution=resolution, reconnects=reconnects)
        self._on_change()

    def closed(self, reason: str) -> None:
        """The source is not open. Operators see `reason`, which holds no secret."""
        self._state = replace(self._state, closed_because=reason)
        self._on_change()

    def add_counts(self, before: Counts, now: Counts) -> None:
        """Add what the camera's process counted between two moments."""
        state = self._state
        self._state = replace(
            state,
            source_frames=state.source_frames + now.source_frames - before.source_frames,
            captured=state.captured + now.captured - before.captured,
            still=state.still + now.still - before.still,
            last_frame_at_s=now.last_frame_ns / NS_PER_S if now.last_frame_ns else state.last_frame_at_s,
            lag_s=now.lag_us / US_PER_S,
        )
        for count, (stage, reason) in _DROPS.items():
            if new := now.of(count) - before.of(count):
                self.dropped(stage, reason, new)

    def set_clock(self, clock: Clock) -> None:
        """Which clock the capture time of the last frame is by."""
        if clock != self._state.clock:
            self._state = replace(self._state, clock=clock)

    def set_decoder(self, decoder: str, reason: str | None) -> bool:
        """What decodes the video, and why not what was wished. Returns whether that is new."""
        before = self._state.decoder, self._state.decoder_reason
        self._state = replace(self._state, decoder=decoder, decoder_reason=reason)
        return before != (decoder, reason)

    def found(self, count: int) -> None:
        """Frames of an earlier run are on disk."""
        self._state = replace(self._state, found=self._state.found + count)

    def published(self, size_bytes: int, seconds: float) -> None:
        """Kafka acknowledged a frame, `seconds` after it was grabbed."""
        self._published += 1
        self._published_bytes += size_bytes
        self._metrics.publish_seconds.observe(seconds)

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Frames were dropped at `stage`."""
        self._drops[stage, reason] += count

    def set_spooled(self, frames: int, size_bytes: int) -> None:
        """How much waits on disk now."""
        self._state = replace(self._state, spooled_frames=frames, spooled_bytes=size_bytes)

    def snapshot(self) -> StatsSnapshot:
        """All values at this moment."""
        drops: Counter[str] = Counter()
        for (_, reason), count in self._drops.items():
            drops[reason] += count
        return replace(
            self._state,
            at_s=self._clock(),
            published=self._published,
            published_bytes=self._published_bytes,
            drops=dict(drops),
            drops_by_stage=dict(self._drops),
        )
