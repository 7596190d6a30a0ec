"""The statistics of one camera at one moment."""

from dataclasses import dataclass, field

from framematch.core.frames import Clock

NEVER_CAPTURED = "corrupt"
"""The one reason for drops of frames that were not captured."""
ENDED, STOPPED, STARTING = "ended", "stopped", "starting"
"""Why a source is closed, if it did not fail."""


@dataclass(frozen=True)
class StatsSnapshot:
    """Counts are since the service started; `closed_because` is None while the source is open.

    `found` are frames of an earlier run that were on disk. `drops` are by reason, and `drops_by_stage` the same by
    stage and reason. `last_frame_at_s` is by the monotonic clock. `decoder_reason`: why
    `decoder` is not the wished one.
    """

    at_s: float = 0.0
    source_frames: int = 0
    captured: int = 0
    still: int = 0
    found: int = 0
    published: int = 0
    published_bytes: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    drops_by_stage: dict[tuple[str, str], int] = field(default_factory=dict)
    reconnects: int = 0
    last_frame_at_s: float | None = None
    closed_because: str | None = STARTING
    spooled_frames: int = 0
    spooled_bytes: int = 0
    lag_s: float = 0.0
    clock: Clock | None = None
    resolution: tuple[int, int] | None = None
    decoder: str | None = None
    decoder_reason: str | None = None

    @property
    def lost(self) -> int:
        """Frames that were captured or found, and then dropped."""
        return sum(count for reason, count in self.drops.items() if reason != NEVER_CAPTURED)

    @property
    def in_memory(self) -> int:
        """Frames that are neither published, nor dropped, nor on disk alone: 0 once everything is settled."""
        return self.captured + self.found - self.published - self.lost - self.spooled_frames

    @property
    def failed(self) -> bool:
        """Whether the source is closed because it failed."""
        return self.closed_because not in (None, ENDED, STOPPED, STARTING)
