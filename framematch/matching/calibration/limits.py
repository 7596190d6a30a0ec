"""The thresholds of a match from pictures whose labels are known. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from framematch.catalog.snapshots.calibration import ImpostorSource
from framematch.matching.calibration.conformal import allowed, limit
from framematch.matching.calibration.options import CalibrationOptions
from framematch.matching.calibration.scores import Flags, Floats, Impostors, Known, Pictures
from framematch.matching.decision import MIN_LEAD

MIN_MATCH: Final = 1e-6
"""A manifest's threshold is above 0."""
MIN_CATEGORY_ALLOWED: Final = 4
"""A category has a threshold of its own if that many of its impostors may reach it. With fewer, the rate that a
threshold realises is off by more than 45 % of itself (one standard deviation)."""


@dataclass(frozen=True)
class Basis:
    """The impostor sources, and the categories, that have enough pictures for thresholds."""

    sources: tuple[ImpostorSource, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """The minimum similarity of a match, for the categories too that have one of their own."""

    match: float
    categories: dict[str, float]

    def of(self, pictures: Impostors | Known) -> Floats:
        """The limit for each picture, by the category of its best candidate."""
        limits = np.full(len(pictures), self.match)
        for category, match in self.categories.items():
            limits[pictures.categories == category] = match
        return limits

    def accepts(self, pictures: Impostors | Known) -> Flags:
        """Which of them reach their limit."""
        return np.greater_equal(pictures.scores, self.of(pictures))


def basis_of(pictures: Pictures, options: CalibrationOptions) -> Basis:
    """What can be stated. A category needs enough impostors of each source that has enough at all."""
    rate, guarantee = options.rate, options.guarantee
    sources = tuple(key for key, one in pictures.impostors.items() if allowed(len(one), rate, guarantee) >= 0)
    if not sources or not options.by_category:
        return Basis(sources, ())
    counts = [_counts(pictures.impostors[source]) for source in sources]
    categories = tuple(
        category
        for category in sorted(set.intersection(*(set(one) for one in counts)) - {""})
        if all(allowed(one[category], rate, guarantee) >= MIN_CATEGORY_ALLOWED for one in counts)
    )
    return Basis(sources, categories)


def match_limits(pictures: Pictures, basis: Basis, options: CalibrationOptions) -> Limits:
    """The limits that the strictest of the sources needs.

    What is in none of the categories is judged by impostors that are in none either, or by all if those are too few.
    """
    sources = [pictures.impostors[source] for source in basis.sources]
    match = max(_rest_limit(one, basis.categories, options) for one in sources)
    of_categories = {
        category: max(source_limit(one.where(one.categories == category), options) for one in sources)
        for category in basis.categories
    }
    return Limits(match, of_categories)


def source_limit(impostors: Impostors, options: CalibrationOptions) -> float:
    """The similarity that the stated share of them reaches; with too few of them one that none of them reaches."""
    if not len(impostors):
        return MIN_MATCH
    above = allowed(len(impostors), options.rate, options.guarantee)
    return max(limit(impostors.scores, max(above, 0)), MIN_MATCH)


def margin_of(known: Known, options: CalibrationOptions) -> float:
    """The margin from the accepted pictures of products: those less behind are in the set of candidates.

    inf when more of them than stated do not have the right product among their candidates.
    """
    if not len(known):
        return MIN_LEAD
    above = allowed(len(known), options.mixup_rate, options.guarantee)
    return limit(known.behind, max(above, 0))


def _rest_limit(impostors: Impostors, categories: Collection[str], options: CalibrationOptions) -> float:
    rest = impostors.where(~np.isin(impostors.categories, list(categories)))
    enough = allowed(len(rest), options.rate, options.guarantee) >= 0
    return source_limit(rest if enough else impostors, options)


def _counts(impostors: Impostors) -> dict[str, int]:
    categories, counts = np.unique(impostors.categories, return_counts=True)
    return dict(zip(categories.tolist(), counts.tolist(), strict=True))
