"""Settings of the pictures that people label."""

from pydantic import Field

from framematch.core.settings_section import Section

_LONGEST_DAYS = 20_000  # MongoDB counts seconds with 32 bits


class ReviewSettings(Section):
    """What `framematch calibration collect` keeps of decided regions, and for how long."""

    group_id: str = Field("framematch-review", min_length=1, max_length=249)
    per_camera_hour: int = Field(20, ge=1, le=1000, description="pictures that are kept of each camera and hour")
    max_pictures: int = Field(5000, ge=1, description="in all; the oldest are deleted, first those without a label")
    days: float = Field(30.0, gt=0, le=_LONGEST_DAYS, description="pictures are deleted after")
    near: float = Field(
        0.05, ge=0, le=1, description="a match whose similarity is less than this above the threshold is kept sooner"
    )
