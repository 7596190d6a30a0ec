"""What a calibration states, and what it realises, in words."""

from collections.abc import Iterator
from typing import Final

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint, ImpostorSource, Share, SourceRate

SOURCE_NAMES: Final[dict[ImpostorSource, str]] = {
    "siblings": "known products, left out of the search",
    "unseen": "products that the catalogue lacks",
    "nothing": "scenes without a product",
}
_SHOWN_RATES: Final = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def calibration_lines(calibration: Calibration) -> Iterator[str]:
    """Stated and realised rates, each with its 95 % interval, and the curve of both errors."""
    yield from _stated(calibration)
    if calibration.views:
        yield (
            f"weaker: {calibration.views} of the pictures are the catalogue's own, each held out; with cameras the "
            "rates may be higher"
        )
    yield "realised, on pictures that the thresholds were not made from, with 95 % intervals:"
    for source in calibration.sources:
        yield f"  {SOURCE_NAMES[source.source]}: {_source(source)}"
    yield f"  known products: {share_text(calibration.refused)} unknown, {share_text(calibration.ambiguous)} ambiguous"
    yield f"  of those that match, another product: {share_text(calibration.mixups)}"
    yield f"  of the ambiguous ones, with the right product in their set: {share_text(calibration.holds_truth)}"
    for category in calibration.categories:
        yield f"  category {category.category}: match {category.match:.3f}, from {category.impostors} pictures"
    if calibration.sightings is not None:
        sightings = calibration.sightings
        yield (
            f"  sightings: evidence {sightings.evidence:.3f}, lead {sightings.lead:.3f}; without a product of the "
            f"catalogue {share_text(sightings.accepted)} accepted"
        )
    yield from _curve(calibration.curve)


def share_text(share: Share) -> str:
    """A rate with its interval."""
    if not share.pictures:
        return "no picture"
    interval = f"{_percent(share.low)} to {_percent(share.high)} %"
    return f"{_percent(share.rate)} % ({interval}) of {share.pictures}"


def _stated(calibration: Calibration) -> Iterator[str]:
    how = "are expected to be" if calibration.guarantee is None else f"are with {calibration.guarantee:.0%} confidence"
    yield (
        f"{calibration.at[:19].replace('T', ' ')} UTC, with {calibration.samples} pictures and "
        f"{calibration.products} products"
    )
    yield f"stated: at most {100 * calibration.rate:g} % {how} accepted, of pictures of each of these:"
    for source in calibration.sources:
        if source.threshold is not None:
            yield f"  {SOURCE_NAMES[source.source]}"
    yield f"  and of accepted ones at most {100 * calibration.mixup_rate:g} % without the right product in their set"
    if all(source.threshold is None for source in calibration.sources if source.source == "unseen"):
        yield f"not stated for {SOURCE_NAMES['unseen']}: more of them may be accepted"


def _source(source: SourceRate) -> str:
    if not source.accepted.pictures:
        return f"not stated, {source.missing} pictures are needed"
    auroc = "" if source.auroc is None else f", AUROC {source.auroc:.3f}"
    missing = f"; not stated, {source.missing} more are needed" if source.missing else ""
    return f"{share_text(source.accepted)} accepted{auroc}{missing}"


def _curve(points: tuple[CurvePoint, ...]) -> Iterator[str]:
    """The lowest threshold for each of some rates."""
    if not points:
        return
    yield "at other thresholds:"
    yield f"  {'match':>6}  {'accepted without a product':>26}  {'known products refused':>22}"
    shown: set[float] = set()
    for rate in _SHOWN_RATES:
        point = next((one for one in points if one.accepted <= rate), None)
        if point is not None and point.threshold not in shown:
            shown.add(point.threshold)
            yield f"  {point.threshold:>6.3f}  {_percent(point.accepted):>24} %  {_percent(point.refused):>20} %"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
