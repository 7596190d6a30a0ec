"""What a calibration is asked for, and what it answers."""

from dataclasses import dataclass
from typing import Literal

from framematch.catalog.snapshots.calibration import Calibration, ImpostorSource
from framematch.catalog.snapshots.thresholds import ThresholdEstimate

Pictures = Literal["accepted known products", "known products found"] | ImpostorSource


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

    pictures: Pictures
    have: int
    needed: int


@dataclass(frozen=True)
class TooFew:
    """Nothing can be stated, and why: how many pictures are missing, or what cannot be right in `problem`."""

    shortages: tuple[Shortage, ...] = ()
    problem: str = ""

    def explain(self) -> str:
        """Why, in one line."""
        raise NotImplementedError
