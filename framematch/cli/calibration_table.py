"""What a calibration states, in words and as a table."""

from collections.abc import Iterator

from rich.table import Table

from framematch.catalog.snapshots.calibration import Calibration, Share, SourceRate
from framematch.catalog.snapshots.thresholds import ThresholdEstimate
from framematch.cli.snapshots.calibration_text import SOURCE_NAMES


def stated_lines(calibration: Calibration, thresholds: ThresholdEstimate) -> Iterator[tuple[str, str]]:
    """A name and a text for each thing that is stated."""
    stated = (
        f"at most {percent(calibration.rate)} of pictures without a product accepted, and "
        f"{percent(calibration.mixup_rate)} of accepted ones without the right candidate"
    )
    if calibration.guarantee is not None:
        stated += f", as bounds that hold with a probability of {percent(calibration.guarantee)}"
    yield "states", stated
    yield "thresholds", f"match {thresholds.match:.3f}, margin {thresholds.margin:.3f}"
    if calibration.views:
        own = f"{calibration.views} of the {calibration.samples} pictures are the catalogue's own, each held out"
        yield "weaker", f"{own} in turn: with your cameras the rates may be higher"
    if calibration.categories:
        named = ", ".join(f"{one.category} {one.match:.3f}" for one in calibration.categories)
        yield "categories", f"with a minimum similarity of their own: {named}"


def rate_table(calibration: Calibration) -> Table:
    """A row for each rate: what is stated, and what was realised on pictures that did not make the threshold."""
    table = Table("Pictures", box=None, pad_edge=False)
    for name in ("Stated", "Realised", "95 % interval", "Pictures counted", "AUROC"):
        table.add_column(name, justify="right")
    for source in calibration.sources:
        table.add_row(*_source_cells(source, calibration))
    for name, stated, share in (
        ("accepted known products, mixed up", percent(calibration.mixup_rate), calibration.mixups),
        ("known products, ambiguous", "-", calibration.ambiguous),
        ("known products, refused", "-", calibration.refused),
        ("ambiguous ones, right product in the set", "-", calibration.holds_truth),
    ):
        table.add_row(name, stated, *_share_cells(share), "")
    return table


def percent(share: float) -> str:
    """`5 %`, `0.5 %`."""
    return f"{100 * share:.3g} %"


def _source_cells(source: SourceRate, calibration: Calibration) -> tuple[str, ...]:
    name = f"accepted {SOURCE_NAMES[source.source]}"
    if source.threshold is None:
        counted = f"{source.accepted.pictures} ({source.missing} missing)"
        return name, "none", "-", "-", counted, "-"
    auroc = "-" if source.auroc is None else f"{source.auroc:.3f}"
    return name, percent(calibration.rate), *_share_cells(source.accepted), auroc


def _share_cells(share: Share) -> tuple[str, str, str]:
    if not share.pictures:
        return "-", "-", "0"
    return (
        f"{share.rate:.1%}",
        f"{100 * share.low:.1f} to {100 * share.high:.1f} %",
        str(share.pictures),
    )
