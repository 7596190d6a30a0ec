"""Settings of the archive."""

from pydantic import Field

from framematch.core.settings_section import Section

_LONGEST_DAYS = 20_000  # MongoDB counts seconds with 32 bits


class ArchiveSettings(Section):
    """What is stored of events and logs in MongoDB, and for how long; days are counted from when it was stored."""

    group_id: str = Field("framematch-archive", min_length=1, max_length=249)
    batch_events: int = Field(1000, ge=1, le=10_000, description="maximum number of events that are written at once")
    batch_window_ms: float = Field(200.0, ge=0, description="how long the first event of a batch waits for more")
    matches_days: float = Field(30.0, ge=0, le=_LONGEST_DAYS, description="match events are deleted after; 0: never")
    sightings_days: float = Field(90.0, ge=0, le=_LONGEST_DAYS, description="sightings are deleted after; 0: never")
    logs_days: float = Field(14.0, ge=0, le=_LONGEST_DAYS, description="log events are deleted after; 0: never")
