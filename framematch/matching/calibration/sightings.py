"""Thresholds for the votes of a sighting, by the same rules as for pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from framematch.catalog.snapshots.calibration import SightingThresholds
from framematch.matching.calibration.options import TooFew


@dataclass(frozen=True)
class SightingVotes:
    """The votes of one held-out sighting: the evidence for the first product, and for the right one.

    `right` is None for an impostor, and -inf when the right product got no vote.
    """

    first: float
    right: float | None = None


def sighting_thresholds(
    sightings: Sequence[SightingVotes], *, rate: float, mixup_rate: float, guarantee: float | None = None
) -> SightingThresholds | TooFew:
    """The evidence that at most the share `rate` of impostor sightings exceeds, and the lead that a match needs.

    Each sighting counts once; `accepted` in the answer is by thresholds that the sighting was not part of.
    """
    raise NotImplementedError
