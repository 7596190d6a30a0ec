"""What a calibration is asked for, and what it answers."""

from dataclasses import dataclass
from typing import Final, Literal

from framematch.catalog.snapshots.calibration import Calibration, ImpostorSource
from framematch.catalog.snapshots.thresholds import ThresholdEstimate

PictureKind = ImpostorSource | Literal["accepted", "found", "impostor sightings", "known sightings", "voted sightings"]

_KINDS: Final[dict[PictureKind, str]] = {
    "siblings": "independent pictures of known products, which are left out of the search",
    "unseen": "of products that the catalogue lacks",
    "nothing": "of scenes without a product",
    "accepted": "independent pictures of known products that reach the minimum similarity",
    "found": "of these pictures with their own product among the nearest",
    "impostor sightings": "sightings without a product of the catalogue",
    "known sightings": "sightings of known products with enough evidence",
    "voted sightings": "of these sightings with votes for their own product",
}


@dataclass(frozen=True)
class CalibrationOptions:
    """The rates to state, from 0 to 1, each exclusive; `at` is the time, RFC 3339.

    `rate` is the share of impostors that may be accepted, `mixup_rate` that of accepted known products whose set of
    candidates may lack the right one. They are expected rates; with `guarantee` they are upper bounds that hold with
    this probability, which needs more pictures. With `by_category` categories with many impostors get thresholds of
    their own.
    """

    at: str
    rate: float = 0.05
    mixup_rate: float = 0.05
    guarantee: float | None = None
    by_category: bool = True


@dataclass(frozen=True)
class Calibrated:
    """The thresholds for the manifest, and what they state."""

    thresholds: ThresholdEstimate
    calibration: Calibration


@dataclass(frozen=True)
class Shortage:
    """There are `have` independent pictures of this kind, and `needed` are needed to state the rate."""

    pictures: PictureKind
    have: int
    needed: int

    def __str__(self) -> str:
        return f"{self.have} {_KINDS[self.pictures]}, {self.needed} needed"


@dataclass(frozen=True)
class TooFew:
    """The rate cannot be stated, and nothing else is.

    `shortages` say how many pictures are missing: of impostors one kind is enough. `problem` is what must be wrong
    with the pictures instead.
    """

    rate: float
    shortages: tuple[Shortage, ...] = ()
    problem: str = ""

    def explain(self) -> str:
        """Why, in one line."""
        what = self.problem or " or ".join(map(str, self.shortages))
        return f"a rate of {100 * self.rate:g} % cannot be stated: {what}"
