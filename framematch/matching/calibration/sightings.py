"""Thresholds for the votes of a sighting, by the same rules as for pictures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from framematch.catalog.snapshots.calibration import SightingThresholds
from framematch.matching.calibration.conformal import allowed, limit, needed
from framematch.matching.calibration.folds import FOLDS
from framematch.matching.calibration.options import Shortage, TooFew
from framematch.matching.calibration.realised import share
from framematch.matching.calibration.scores import Flags, Floats


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
    """The evidence that at most the share `rate` of impostor sightings reaches, and the lead that a match needs.

    Each sighting counts once; `accepted` in the answer is by evidence that the sighting was not part of.
    """
    impostors = np.array([one.first for one in sightings if one.right is None], np.float64)
    above = allowed(len(impostors), rate, guarantee)
    if above < 0:
        return TooFew(rate, (Shortage("impostor sightings", len(impostors), needed(rate, guarantee)),))
    evidence = limit(impostors, above)
    behind = [one.first - one.right for one in sightings if one.right is not None and one.first >= evidence]
    above = allowed(len(behind), mixup_rate, guarantee)
    if above < 0:
        return TooFew(mixup_rate, (Shortage("known sightings", len(behind), needed(mixup_rate, guarantee)),))
    found = int(np.isfinite(behind).sum())
    if found < len(behind) - above:
        return TooFew(mixup_rate, (Shortage("voted sightings", found, len(behind) - above),))
    return SightingThresholds(evidence, limit(behind, above), share(_accepted(impostors, rate, guarantee)))


def _accepted(impostors: Floats, rate: float, guarantee: float | None) -> Flags:
    accepted = np.zeros(len(impostors), np.bool_)
    folds = np.random.default_rng(0).permutation(len(impostors)) % FOLDS
    for fold in np.unique(folds):
        others = impostors[folds != fold]
        if len(others):
            evidence = limit(others, max(allowed(len(others), rate, guarantee), 0))
            accepted[folds == fold] = impostors[folds == fold] >= evidence
    return accepted
