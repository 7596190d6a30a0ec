"""Answers about the shadow: what would have been decided otherwise."""

from pydantic import BaseModel, Field

from framematch.api.schemas.examples import PREVIOUS_ID, SNAPSHOT_ID, example
from framematch.matching.intervals import Interval
from framematch.matching.shadow.counts import CHANGES, KINDS, Change
from framematch.matching.shadow.report import ShadowReport


class Share(BaseModel):
    """A share of regions, and its 95 % confidence interval."""

    share: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval | None) -> "Share | None":
        """The share; None while there are too few data."""
        return None if interval is None else cls(share=interval.share, low=interval.low, high=interval.high)


class FlowAnswer(BaseModel):
    """So many regions went from the active snapshot's product to the shadow's; null is no product."""

    model_config = example(active="4011", shadow="4012", regions=17)

    active: str | None
    shadow: str | None
    regions: int


class CameraShare(BaseModel):
    """The compared regions of a camera, and those that changed."""

    model_config = example(camera="till-1", regions=1_200, changed=9)

    camera: str
    regions: int
    changed: int


class ShadowReportAnswer(BaseModel):
    """How the decisions of a shadow differ from those of the active snapshot. Shares are null while data are few."""

    active: str = Field(examples=[PREVIOUS_ID])
    shadow: str = Field(examples=[SNAPSHOT_ID])
    first_at: str | None = Field(examples=["2026-01-31T12:00:00.000000Z"])
    last_at: str | None = Field(examples=["2026-01-31T13:00:00.000000Z"])
    frames: int = Field(examples=[18_000])
    regions: int = Field(examples=[18_200])
    dropped: int = Field(examples=[40])
    failed: int = Field(examples=[0])
    camera_minutes: int = Field(examples=[60])
    decisions: dict[str, dict[str, int]] = Field(description="regions by the active and then the shadow's decision")
    changes: dict[Change, int]
    shares: dict[Change, Share | None]
    mean_score_shift: float | None = Field(examples=[0.012])
    flows: list[FlowAnswer]
    cameras: list[CameraShare] = Field(description="those that the key may see")

    @classmethod
    def of(cls, report: ShadowReport, cameras: list[CameraShare]) -> "ShadowReportAnswer":
        """The answer for a report."""
        counts = report.counts
        return cls(
            active=report.active,
            shadow=report.shadow,
            first_at=counts.first_at or None,
            last_at=counts.last_at or None,
            frames=counts.frames,
            regions=counts.regions,
            dropped=counts.dropped,
            failed=counts.failed,
            camera_minutes=counts.minutes,
            decisions={
                active: dict(zip(KINDS, row, strict=True)) for active, row in zip(KINDS, counts.decisions, strict=True)
            },
            changes={change: counts.of_change(change).regions for change in CHANGES},
            shares={change: Share.of(report.share(change)) for change in CHANGES},
            mean_score_shift=report.mean_shift,
            flows=[FlowAnswer(active=one.active, shadow=one.shadow, regions=one.regions) for one in counts.flows],
            cameras=cameras,
        )
