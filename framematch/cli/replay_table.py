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
from framematch.matching.intervals import Interval, wilson
from framematch.matching.shadow_counts import KINDS, ShadowCounts

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
    counts = summary.counts()
    changed = _changed_share(counts)
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
            "changed_share": None if changed is None else [changed.share, changed.low, changed.high],
            "decisions": {
                kind: dict(zip(KINDS, row, strict=True)) for kind, row in zip(KINDS, counts.decisions, strict=True)
            },
            "flows": [{"published": f.active, "replayed": f.shadow, "regions": f.regions} for f in counts.flows],
            "mean_score_shift": _mean_shift(counts),
            "largest_score_shift": summary.largest_shift,
            "missing": dict(summary.missing),
            "only_published": summary.only_published,
        }
    )


def summary_lines(wanted: TimeRange, snapshot: str, summary: Summary, reading: Reading) -> Iterator[str]:
    """The numbers for people."""
    counts = summary.counts()
    if not reading.finished:
        yield "Ended early: these are the frames that were replayed so far."
    yield f"{counted(summary.changed_decisions, 'difference')} in {counted(counts.regions, 'region')}"
    yield f"  range       {wanted}"
    yield f"  frames      {reading.frames} replayed with snapshot {snapshot}{_undecided(reading)}"
    if counts.regions:
        by = ", ".join(f"{name} ({number})" for name, number in summary.published_by.most_common())
        yield f"  published   by {by}"
        yield from _comparison_lines(counts, summary.largest_shift)
    if summary.reused:
        yield f"  reused      {summary.reused} published decisions were made for an earlier frame that looked the same"
    if summary.missing:
        missing = ", ".join(f"{number} {_NO_OUTPUT[reason]}" for reason, number in summary.missing.most_common())
        yield f"  missing     {summary.missing.total()} regions have no event: {missing}"
    if summary.only_published:
        yield f"  vanished    {counted(summary.only_published, 'event')} of frames that cannot be decided now"


def _comparison_lines(counts: ShadowCounts, largest_shift: float | None) -> Iterator[str]:
    number, share = counts.of_change("changed").regions, _changed_share(counts)
    if share is not None:
        yield f"  products    {number} changed: {share.share:.1%} (95 % interval {share.low:.1%} to {share.high:.1%})"
    if (shift := _mean_shift(counts)) is not None:
        yield f"  score       {shift:+.4f} on average, {largest_shift or 0:.4f} at most"
    yield f"  decisions   {'published, replayed as':<24}" + "".join(f"{kind:>11}" for kind in KINDS)
    for kind, row in zip(KINDS, counts.decisions, strict=True):
        yield f"              {kind:<24}" + "".join(f"{regions:>11}" for regions in row)
    for flow in counts.flows[:_FLOWS_SHOWN]:
        before, after = flow.active or "no match", flow.shadow or "no match"
        yield printable(f"  flow        {before} -> {after}: {flow.regions}")


def _changed_share(counts: ShadowCounts) -> Interval | None:
    """The share of regions with another product, as if they were independent of each other."""
    regions = counts.regions
    return wilson(counts.of_change("changed").regions / regions, regions) if regions else None


def _mean_shift(counts: ShadowCounts) -> float | None:
    return counts.shift.total / counts.shift.regions if counts.shift.regions else None


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
