"""Whether the numbers of a calibration can be, whoever wrote them."""

from collections.abc import Iterator
from itertools import pairwise

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint, Share
from framematch.core.timestamps import from_rfc3339

_CURVE_POINTS_MAX = 1_000
_CATEGORIES_MAX = 10_000
_SIMILARITY_MAX = 1.001  # of unit vectors, with rounding errors


def problem(calibration: Calibration) -> str | None:
    """The first field that cannot be, or None. NaN is never in a range."""
    return next((field for field, possible in _checks(calibration) if not possible), None)


def _checks(calibration: Calibration) -> Iterator[tuple[str, bool]]:
    yield "at", _is_time(calibration.at)
    yield "rate", 0 < calibration.rate < 1
    yield "mixup_rate", 0 < calibration.mixup_rate < 1
    yield "guarantee", calibration.guarantee is None or 0 < calibration.guarantee < 1
    yield "samples", calibration.samples > 0
    yield "views", 0 <= calibration.views <= calibration.samples
    yield "products", calibration.products > 0
    yield "sources", _is_each_once([one.source for one in calibration.sources])
    for source in calibration.sources:
        possible = source.threshold is None or 0 < source.threshold <= 1
        yield f"{source.source}.threshold", possible and (source.threshold is None) == (source.missing > 0)
        yield f"{source.source}.accepted", _is_share(source.accepted)
        yield f"{source.source}.auroc", source.auroc is None or 0 <= source.auroc <= 1
    for name in ("mixups", "ambiguous", "refused", "holds_truth"):
        yield name, _is_share(getattr(calibration, name))
    yield "curve", _is_curve(calibration.curve)
    yield "categories", len(calibration.categories) <= _CATEGORIES_MAX
    yield "categories", _is_each_once([one.category for one in calibration.categories])
    for category in calibration.categories:
        yield "categories", 0 < category.match <= 1 and category.impostors > 0
    if calibration.sightings is not None:
        sightings = calibration.sightings
        yield "sightings", abs(sightings.evidence) < float("inf") and 0 <= sightings.lead < float("inf")
        yield "sightings", _is_share(sightings.accepted)


def _is_time(text: str) -> bool:
    try:
        from_rfc3339(text)
    except ValueError:
        return False
    return True


def _is_each_once(names: list[str]) -> bool:
    return len(set(names)) == len(names)


def _is_share(share: Share) -> bool:
    return 0 <= share.hits <= share.pictures and 0 <= share.low <= share.high <= 1


def _is_curve(points: tuple[CurvePoint, ...]) -> bool:
    """With a higher threshold never more is accepted, and never less refused."""
    return (
        len(points) <= _CURVE_POINTS_MAX
        and all(
            0 <= one.accepted <= 1 and 0 <= one.refused <= 1 and abs(one.threshold) <= _SIMILARITY_MAX for one in points
        )
        and all(
            one.threshold < other.threshold and one.accepted >= other.accepted and one.refused <= other.refused
            for one, other in pairwise(points)
        )
    )
