"""Formats the report on a shadow: tables and lines for the screen, and JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from framematch.catalog.operations.overview import SnapshotServing
from framematch.cli.snapshots.table import refusal_lines
from framematch.core.printable import printable
from framematch.matching.intervals import Interval
from framematch.matching.shadow.counts import CHANGES, KINDS, Change, Cost, Flow
from framematch.matching.shadow.report import MIN_MINUTES, ShadowReport

_SHOWN_FLOWS = 10
_SHOWN_CAMERAS = 3
_MEANING: dict[Change, str] = {
    "changed": "another product, or none where there was one, or the reverse",
    "lost": "a product before, none with the shadow",
    "gained": "none before, a product with the shadow",
    "replaced": "another product",
    "unknown": "unknown with the shadow, whatever it was before",
}


@dataclass(frozen=True)
class ReportOfPair:
    """The report on a pair of snapshots; `serving` says which processes run the shadow, None when it is no shadow now.

    `sample` is the share of frames that it decides now.
    """

    report: ShadowReport
    sample: float | None
    serving: SnapshotServing | None


def report_texts(found: ReportOfPair) -> Iterator[RenderableType]:
    """The report for the screen."""
    report, counts = found.report, found.report.counts
    yield Text(f"Active    {report.active}\nShadow    {report.shadow}{_state(found)}")
    if found.serving:
        yield from (Text(printable(line), "yellow") for line in refusal_lines(report.shadow, found.serving))
    if not report.offered:
        yield Text("Nothing was compared yet", "yellow")
        return
    yield Text(
        f"Compared  {counts.regions:,} regions of {counts.frames:,} frames, {len(counts.cameras):,} cameras, "
        f"{counts.minutes:,} camera-minutes, "
        f"{counts.first_at[:19] or '-'} to {counts.last_at[:19] or '-'} UTC"
    )
    yield Text(f"Left out  {report.dropped_share:.1%}: {counts.dropped:,} dropped, {counts.failed:,} failed")
    if not counts.regions:
        return
    yield from (Text(""), _decision_table(report), Text(""))
    yield from (_share_table(report), Text(""))
    if not report.enough:
        yield Text(f"Not enough yet to state a share: {MIN_MINUTES} camera-minutes are needed", "yellow")
    yield from map(Text, _figure_lines(report))
    if counts.flows:
        yield from (Text(""), _flow_table(report))


def report_json(found: ReportOfPair) -> bytes:
    """One JSON object. Shares are from 0 to 1; those of `shares` are null while there are too few data."""
    report, counts = found.report, found.report.counts
    known: dict[str, Any] = {
        "active": report.active,
        "shadow": report.shadow,
        "sample": found.sample,
        "processes": found.serving and {"all": found.serving.processes, "shadow": len(found.serving.as_shadow)},
        "enough": report.enough,
        "shares": {change: report.share(change) for change in CHANGES},
        "naive_shares": {change: report.naive_share(change) for change in CHANGES},
        "dropped_share": report.dropped_share,
        "decisions": {
            active: dict(zip(KINDS, row, strict=True)) for active, row in zip(KINDS, counts.decisions, strict=True)
        },
        "changes": {change: counts.of_change(change).regions for change in CHANGES},
        "score_shift": {
            "mean": report.mean_shift,
            "deviation": report.shift_deviation,
            "regions": counts.shift.regions,
        },
        "cost_ms": {"active": _cost(report, counts.active_cost), "shadow": _cost(report, counts.shadow_cost)},
        **{name: getattr(counts, name) for name in ("regions", "frames", "dropped", "failed", "minutes")},
        **{name: getattr(counts, name) for name in ("first_at", "last_at", "flows", "flow_error", "cameras")},
    }
    return msgspec.json.encode(known)


def _state(found: ReportOfPair) -> str:
    if found.serving is None:
        return ""
    running, processes = len(found.serving.as_shadow), found.serving.processes
    return f", on {found.sample:.1%} of the frames, in {running} of {processes} processes"


def _decision_table(report: ShadowReport) -> Table:
    table = Table("Regions", box=None, pad_edge=False)
    for kind in KINDS:
        table.add_column(f"shadow: {kind}", justify="right")
    for kind, row in zip(KINDS, report.counts.decisions, strict=True):
        table.add_row(f"active: {kind}", *(f"{regions:,}" for regions in row))
    return table


def _share_table(report: ShadowReport) -> Table:
    table = Table("Share", box=None, pad_edge=False)
    table.add_column("Regions", justify="right")
    table.add_column("Of all", justify="right")
    for name in ("95 % interval", "If regions were independent", "Means"):
        table.add_column(name)
    for change in CHANGES:
        regions, share = report.counts.of_change(change).regions, report.share(change)
        naive = report.naive_share(change)
        table.add_row(
            change,
            f"{regions:,}",
            f"{naive.share:.2%}" if naive else "",
            _interval(share) if share else "not enough yet",
            _interval(naive) if naive and share else "",
            Text(_MEANING[change], "dim"),
        )
    return table


def _interval(interval: Interval) -> str:
    return f"{interval.low:.2%} to {interval.high:.2%}"


def _figure_lines(report: ShadowReport) -> Iterator[str]:
    if report.mean_shift is not None and report.shift_deviation is not None:
        yield f"Score     {report.mean_shift:+.4f} with the shadow, standard deviation {report.shift_deviation:.4f}"
    for name, cost in (("active", report.counts.active_cost), ("shadow", report.counts.shadow_cost)):
        own = _cost(report, cost)
        yield f"Cost      {name}: {own['embed']:.2f} ms to embed a region, {own['search']:.2f} ms to search"
    cameras = [camera for camera in report.counts.cameras if camera.changed]
    cameras.sort(key=lambda camera: (-camera.changed / camera.regions, camera.camera))
    shown = [
        f"{printable(own.camera)} {own.changed / own.regions:.2%} of {own.regions:,}"
        for own in islice(cameras, _SHOWN_CAMERAS)
    ]
    if shown:
        yield f"Cameras   most changed: {', '.join(shown)}"


def _flow_table(report: ShadowReport) -> Table:
    flows, error = report.counts.flows, report.counts.flow_error
    more = f", {len(flows) - _SHOWN_FLOWS} more with --json" if len(flows) > _SHOWN_FLOWS else ""
    exact = f"each is wrong by at most {error:,}" if error else "exact"
    table = Table(box=None, pad_edge=False, title=f"Largest changes ({exact}{more})", title_justify="left")
    table.add_column("Regions", justify="right")
    for name in ("Active", "Shadow"):
        table.add_column(name)
    for flow in flows[:_SHOWN_FLOWS]:
        table.add_row(f"{flow.regions:,}", *_products(flow))
    return table


def _products(flow: Flow) -> tuple[Text, Text]:
    active, shadow = (
        Text("no product", "dim") if product is None else Text(printable(product))
        for product in (flow.active, flow.shadow)
    )
    return active, shadow


def _cost(report: ShadowReport, cost: Cost) -> dict[str, float]:
    """Milliseconds a compared region."""
    regions = max(report.counts.regions, 1)
    return {"embed": cost.embed_ms / regions, "search": cost.search_ms / regions}
