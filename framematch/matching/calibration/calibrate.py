"""From the scores of labelled pictures to thresholds and what they state. Pure."""

import numpy as np

from framematch.catalog.snapshots.calibration import (
    Calibration,
    CategoryThreshold,
    CurvePoint,
    ImpostorSource,
    SourceRate,
)
from framematch.catalog.snapshots.thresholds import METHOD_CALIBRATED, ThresholdEstimate
from framematch.matching.calibration.conformal import allowed, needed
from framematch.matching.calibration.curve import auroc, curve
from framematch.matching.calibration.limits import Basis, Limits, basis_of, margin_of, match_limits, source_limit
from framematch.matching.calibration.options import Calibrated, CalibrationOptions, Shortage, TooFew
from framematch.matching.calibration.realised import Realised, realised
from framematch.matching.calibration.samples import SampleScores
from framematch.matching.calibration.scores import SOURCES, Known, Pictures, pictures_of


def calibrate(scores: SampleScores, options: CalibrationOptions) -> Calibrated | TooFew:
    """Thresholds that hold the stated rates, and the rates realised on pictures that they were not made from.

    Of the pictures of one product in one group only one counts, as they are not independent. CPU-bound, pure.

    Raises:
        ValueError: a rate is not between 0 and 1, or a score is not finite.
    """
    for rate in (options.rate, options.mixup_rate, options.guarantee):
        if rate is not None and not 0 < rate < 1:
            raise ValueError(f"{rate} is no rate between 0 and 1")
    pictures = pictures_of(scores)
    basis = basis_of(pictures, options)
    if not basis.sources:
        return TooFew(options.rate, tuple(_shortage(pictures, source, options) for source in SOURCES))
    limits = match_limits(pictures, basis, options)
    if max(limits.match, *limits.categories.values(), 0) > 1:
        return TooFew(options.rate, problem=_EQUAL)
    accepted = pictures.known.where(limits.accepts(pictures.known))
    if (shortage := _mixup_shortage(accepted, options)) is not None:
        return TooFew(options.mixup_rate, (shortage,))
    margin = margin_of(accepted, options)
    if margin > 1:
        return TooFew(options.mixup_rate, problem=_FAR)
    strictest = max(basis.sources, key=lambda source: source_limit(pictures.impostors[source], options))
    thresholds = ThresholdEstimate(
        limits.match, margin, METHOD_CALIBRATED, options.rate, len(pictures.impostors[strictest])
    )
    return Calibrated(thresholds, _calibration(scores, pictures, basis, limits, options))


_EQUAL = (
    "more pictures without a product of the catalogue than stated are equal to a product's picture: some labels, or "
    "products, must be wrong"
)
_FAR = (
    "more pictures of known products than stated are far more similar to another product than to their own: some "
    "labels must be wrong"
)


def _shortage(pictures: Pictures, source: ImpostorSource, options: CalibrationOptions) -> Shortage:
    return Shortage(source, len(pictures.impostors[source]), needed(options.rate, options.guarantee))


def _mixup_shortage(accepted: Known, options: CalibrationOptions) -> Shortage | None:
    """Accepted pictures of products are too few, or too few of them have the right product among their candidates."""
    above = allowed(len(accepted), options.mixup_rate, options.guarantee)
    if above < 0:
        return Shortage("accepted", len(accepted), needed(options.mixup_rate, options.guarantee))
    found = int(np.isfinite(accepted.behind).sum())
    if found < len(accepted) - above:
        return Shortage("found", found, len(accepted) - above)
    return None


def _calibration(
    scores: SampleScores, pictures: Pictures, basis: Basis, limits: Limits, options: CalibrationOptions
) -> Calibration:
    judged = realised(pictures, basis, options)
    stated = [pictures.impostors[source] for source in basis.sources]
    return Calibration(
        at=options.at,
        rate=options.rate,
        mixup_rate=options.mixup_rate,
        guarantee=options.guarantee,
        samples=len(scores.samples),
        products=scores.products,
        sources=tuple(_source(pictures, source, judged, options) for source in SOURCES),
        mixups=judged.mixups,
        ambiguous=judged.ambiguous,
        refused=judged.refused,
        holds_truth=judged.holds_truth,
        curve=tuple(CurvePoint(*point) for point in curve(pictures.known, stated)),
        categories=tuple(_category(pictures, basis, category, limits) for category in basis.categories),
    )


def _source(pictures: Pictures, source: ImpostorSource, judged: Realised, options: CalibrationOptions) -> SourceRate:
    impostors = pictures.impostors[source]
    missing = needed(options.rate, options.guarantee) - len(impostors)
    return SourceRate(
        source=source,
        threshold=None if missing > 0 else min(source_limit(impostors, options), 1.0),
        accepted=judged.accepted[source],
        auroc=auroc(pictures.known.scores, impostors.scores),
        missing=max(missing, 0),
    )


def _category(pictures: Pictures, basis: Basis, category: str, limits: Limits) -> CategoryThreshold:
    counts = [int((pictures.impostors[source].categories == category).sum()) for source in basis.sources]
    return CategoryThreshold(category, limits.categories[category], min(counts))
