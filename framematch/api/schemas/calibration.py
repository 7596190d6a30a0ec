"""What the calibration of a snapshot states, as answers have it."""

from dataclasses import asdict

from pydantic import BaseModel, Field

from framematch.api.schemas.examples import example
from framematch.catalog.snapshots.calibration import Calibration, ImpostorSource


class ShareAnswer(BaseModel):
    """So many of these pictures, and the 95 % interval of the true rate (Clopper-Pearson)."""

    model_config = example(hits=14, pictures=296, low=0.026, high=0.078)

    hits: int
    pictures: int
    low: float
    high: float


class SourceRateAnswer(BaseModel):
    """What pictures without a product of the catalogue reach, by where they come from.

    `siblings`: of known products, left out of the search; `unseen`: of products that the catalogue lacks; `nothing`: of
    scenes without a product. `missing` pictures are needed before the rate can be stated for them.
    """

    model_config = example(
        source="unseen",
        threshold=0.734,
        accepted={"hits": 14, "pictures": 296, "low": 0.026, "high": 0.078},
        auroc=0.87,
        missing=0,
    )

    source: ImpostorSource
    threshold: float | None
    accepted: ShareAnswer
    auroc: float | None
    missing: int


class CategoryThresholdAnswer(BaseModel):
    """The minimum similarity for candidates of a category that has enough pictures."""

    model_config = example(category="fruit", match=0.71, impostors=120)

    category: str
    match: float
    impostors: int


class CurvePointAnswer(BaseModel):
    """The share of pictures without a product that a threshold accepts, and of known products that it refuses."""

    model_config = example(threshold=0.734, accepted=0.05, refused=0.12)

    threshold: float
    accepted: float
    refused: float


class SightingThresholdsAnswer(BaseModel):
    """The evidence and the lead that a sighting needs."""

    model_config = example(evidence=2.5, lead=0.8, accepted={"hits": 3, "pictures": 60, "low": 0.01, "high": 0.139})

    evidence: float
    lead: float
    accepted: ShareAnswer


class CalibrationAnswer(BaseModel):
    """The stated rates, and those realised on pictures that the thresholds were not made from."""

    at: str = Field(examples=["2026-01-31T12:00:00.123456Z"])
    rate: float = Field(description="stated share of pictures without a product that are accepted", examples=[0.05])
    mixup_rate: float = Field(
        description="stated share of accepted pictures whose set of candidates lacks the right product", examples=[0.05]
    )
    guarantee: float | None = Field(
        description="the probability with which the rates are upper bounds; null: they are expected", examples=[None]
    )
    samples: int = Field(examples=[592])
    views: int = Field(description="pictures of the catalogue among them, each held out", examples=[0])
    products: int = Field(examples=[81])
    sources: list[SourceRateAnswer]
    mixups: ShareAnswer = Field(description="matches of known products that are another product")
    ambiguous: ShareAnswer
    refused: ShareAnswer
    holds_truth: ShareAnswer = Field(description="ambiguous pictures whose set has the right product")
    curve: list[CurvePointAnswer]
    categories: list[CategoryThresholdAnswer]
    sightings: SightingThresholdsAnswer | None

    @classmethod
    def of(cls, calibration: Calibration) -> "CalibrationAnswer":
        """The answer."""
        return cls.model_validate(asdict(calibration))
