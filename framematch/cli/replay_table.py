"""Formats what a replay found: differences as a table and as JSON lines, and the summary."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from consumers.replay.pairing import Answer, Found, OnlyPublished, OnlyReplayed, Pair
from consumers.replay.replay import Reading
from consumers.replay.summary import Summary
from consumers.replay.time_range import TimeRange
from framematch.cli.text import counted
from framematch.core.printable import printable
from framematch.core.timestamps import to_rfc3339
from framematch.matching.shadow.counts import KINDS
from framematch.matching.shadow.report import MIN_MINUTES, ShadowReport

_FLOWS_SHOWN = 5
_NO_OUTPUT = {"not_processed": "not processed yet", "no_output": "dead letter, or skipped"}


def difference_table(differences: Iterable[Found]) -> Table:
    """A table with a row per difference."""
    shown = Table(box=None, pad_edge=False)
    for name in ("Captured (UTC)", "Camera", "Region", "Published", "Replayed", "Score"):
        shown.add_column(name, no_wrap=True)
    for found in differences:
        shown.add_row(*map(Text, map(printable, _row(found))))
    return shown


def difference_line(found: Found) -> str:
    """One JSON object: the frame, and both answers."""
    reason: dict[str, str] = {}
    published: Answer | None = None
    replayed: Answer | None = None
    match found:
        case Pair(published, replayed):
            kind, about = "changed", published
        case OnlyReplayed(replayed, missing):
            kind, about, reason = "missing", replayed, {"reason": missing}
        case OnlyPublished(published):
            kind, about = "only_published", published
    place = about.frame
    frame = {
        "id": place.id,
        "camera": place.camera,
        "captured_at": place.captured_at,
        "partition": place.partition,
        "offset": place.offset,
    }
    answers = {"published": published and _answer(published), "replayed": replayed and _answer(replayed)}
    return _json({"kind": kind, **reason, "id": about.id, "frame": frame, "region": about.region, **answers})


def summary_line(summary: Summary, reading: Reading) -> str:
    """The numbers as one JSON object."""
    report = summary.report()
    counts = report.counts
    return _json(
        {
            "kind": "summary",
            "finished": reading.finished,
            "frames": reading.frames,
            "repeats": reading.repeats,
            "undecided": dict(reading.undecided),
            "gone_before": {str(number): to_rfc3339(at_us) for number, at_us in sorted(reading.gone_before_us.items())},
            "regions": counts.regions,
            "published_by": dict(summary.published_by),
            "reused": summary.reused,
            "changed_decisions": summary.changed_decisions,
            "changed_products": counts.of_change("changed").regions,
            "changed_share": report.share("changed"),
            "naive_changed_share": report.naive_share("changed"),
            "decisions": {
                kind: dict(zip(KINDS, row, strict=True)) for kind, row in zip(KINDS, counts.decisions, strict=True)
            },
            "flows": [{"published": f.active, "replayed": f.shadow, "regions": f.regions} for f in counts.flows],
            "mean_score_shift": report.mean_shift,
            "largest_score_shift": summary.largest_shift,
            "missing": dict(summary.missing),
            "only_published": summary.only_published,
        }
    )


def summary_lines(wanted: TimeRange, snapshot: str, summary: Summary, reading: Reading) -> Iterator[str]:
    """The numbers for people."""
    report = summary.report()
    counts = report.counts
    if not reading.finished:
        yield "Ended early: these are the frames that were replayed so far."
    yield f"{counted(summary.changed_decisions, 'difference')} in {counted(counts.regions, 'region')}"
    yield f"  range       {wanted}"
    yield f"  frames      {reading.frames} replayed with snapshot {snapshot}{_undecided(reading)}"
    if counts.regions:
        by = ", ".join(f"{name} ({number})" for name, number in summary.published_by.most_common())
        yield f"  published   by {by}"
        yield from _comparison_lines(report, summary.largest_shift)
    if summary.reused:
        yield f"  reused      {summary.reused} published decisions were made for an earlier frame that looked the same"
    if summary.missing:
        missing = ", ".join(f"{number} {_NO_OUTPUT[reason]}" for reason, number in summary.missing.most_common())
        yield f"  no event    {counted(summary.missing.total(), 'region')}: {missing}"
    if summary.only_published:
        yield f"  undecided   {counted(summary.only_published, 'event')} of frames that cannot be decided now"


def _comparison_lines(report: ShadowReport, largest_shift: float | None) -> Iterator[str]:
    counts, share, naive = report.counts, report.share("changed"), report.naive_share("changed")
    if interval := share or naive:
        shown = f"95 % interval {interval.low:.2%} to {interval.high:.2%}"
        doubt = "" if share else f", if regions were independent: there are fewer than {MIN_MINUTES} camera-minutes"
        yield f"  products    {counts.of_change('changed').regions} changed: {interval.share:.2%} ({shown}{doubt})"
    if report.mean_shift is not None:
        yield f"  score       {report.mean_shift:+.4f} on average, {largest_shift or 0:.4f} at most"
    yield f"  decisions   {'published, replayed as':<24}" + "".join(f"{kind:>11}" for kind in KINDS)
    for kind, row in zip(KINDS, counts.decisions, strict=True):
        yield f"              {kind:<24}" + "".join(f"{regions:>11}" for regions in row)
    for flow in counts.flows[:_FLOWS_SHOWN]:
        before, after = flow.active or "no match", flow.shadow or "no match"
        yield printable(f"  flow        {before} -> {after}: {flow.regions}")


def _undecided(reading: Reading) -> str:
    parts = [f"{number} {reason}" for reason, number in reading.undecided.most_common()]
    text = f"; {reading.undecided.total()} cannot be decided ({', '.join(parts)})" if parts else ""
    return f"{text}; {counted(reading.repeats, 'repeat')}" if reading.repeats else text


def _row(found: Found) -> list[str]:
    match found:
        case Pair(published, replayed):
            about, shown = replayed, [_shown(published), _shown(replayed), _scores(published, replayed)]
        case OnlyReplayed(replayed, reason):
            about, shown = replayed, [_NO_OUTPUT[reason], _shown(replayed), _score(replayed)]
        case OnlyPublished(published):
            about, shown = published, [_shown(published), "cannot be decided", _score(published)]
    place = about.frame
    region = "{},{} {}x{}".format(*about.region)
    return [place.captured_at[:23].replace("T", " "), place.camera, region, *shown]


def _shown(answer: Answer) -> str:
    return f"{answer.decision} {answer.nearest}" if answer.nearest else answer.decision


def _scores(one: Answer, other: Answer) -> str:
    return f"{_score(one)} -> {_score(other)}"


def _score(answer: Answer) -> str:
    return "-" if answer.score is None else f"{answer.score:.3f}"


def _answer(answer: Answer) -> dict[str, Any]:
    names = ("decision", "product", "nearest", "score", "snapshot", "delta", "reused")
    return {name: getattr(answer, name) for name in names}


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
