"""What a calibration states about the decisions of a snapshot, and the numbers that it rests on. Part of the manifest.

An impostor is a picture that shows no product of the catalogue. Rates are shares of pictures, from 0 to 1.
"""

from dataclasses import dataclass
from typing import Literal

ImpostorSource = Literal["siblings", "unseen", "nothing"]
"""`siblings`: pictures of a product that was left out of the search; `unseen`: of products that the catalogue does not
have; `nothing`: of scenes without a product."""


@dataclass(frozen=True)
class Share:
    """`hits` of `pictures`; `low` and `high` are the 95 % interval of the true rate (Clopper-Pearson)."""

    hits: int
    pictures: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share itself; 0 without pictures."""
        return self.hits / max(self.pictures, 1)


@dataclass(frozen=True)
class SourceRate:
    """What impostors of one source reach.

    `threshold` is the similarity that the stated share of them reaches; None when they are too few to state it, which
    `missing` then counts. `accepted` are those that reach the calibrated similarity, each judged by a threshold that it
    was not part of. `auroc` is the probability that a picture of a known product is more similar to its best product.
    """

    source: ImpostorSource
    threshold: float | None
    accepted: Share
    auroc: float | None
    missing: int = 0


@dataclass(frozen=True)
class CategoryThreshold:
    """The minimum similarity for candidates of one category, which has enough impostors of its own."""

    category: str
    match: float
    impostors: int


@dataclass(frozen=True)
class CurvePoint:
    """The share of impostors that a threshold accepts, and of pictures of known products that it refuses."""

    threshold: float
    accepted: float
    refused: float


@dataclass(frozen=True)
class SightingThresholds:
    """The evidence that a sighting needs, its minimum lead over the second product, and the stated rate."""

    evidence: float
    lead: float
    accepted: Share


@dataclass(frozen=True)
class Calibration:
    """The stated rates of a snapshot.

    At most the share `rate` of impostors is accepted, and of pictures of known products that are accepted at most the
    share `mixup_rate` gets a set of candidates without the right product. Both are expected rates; with `guarantee`
    they are upper bounds that hold with this probability. `mixups` are wrong products among the known ones that
    matched, `ambiguous` and `refused` those without a match, `holds_truth` the ambiguous ones with the right product in
    their set. `products` is the number of products at that time. `at` is RFC 3339. `views` of the samples are the
    catalogue's own pictures, each held out in turn: they say less about cameras than frames do.
    """

    at: str
    rate: float
    mixup_rate: float
    guarantee: float | None
    samples: int
    products: int
    sources: tuple[SourceRate, ...]
    mixups: Share
    ambiguous: Share
    refused: Share
    holds_truth: Share
    curve: tuple[CurvePoint, ...]
    categories: tuple[CategoryThreshold, ...] = ()
    sightings: SightingThresholds | None = None
    views: int = 0
