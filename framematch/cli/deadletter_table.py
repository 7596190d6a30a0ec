"""Formats dead letters: as rows of a table, as JSON lines, one in full."""

from collections.abc import Iterable

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from framematch.core.deadletters import DeadLetter
from framematch.core.printable import printable
from framematch.core.timestamps import to_rfc3339
from framematch.core.units import BYTES_PER_KB, US_PER_MS

_NOTHING = "-"


def table(dead_letters: Iterable[DeadLetter]) -> Table:
    """A table with a row per dead letter."""
    shown = Table(box=None, pad_edge=False)
    for name in ("Position", "Written (UTC)", "Camera", "Stage", "Reason"):
        shown.add_column(name, no_wrap=True)
    shown.add_column("Error", overflow="fold")
    shown.add_column("Record", no_wrap=True)
    shown.add_column("Size", justify="right", no_wrap=True)
    for dead_letter in dead_letters:
        shown.add_row(*map(Text, map(printable, _row(dead_letter))))
    return shown


def _row(dead_letter: DeadLetter) -> list[str]:
    failure = dead_letter.failure
    return [
        _position(dead_letter),
        _at(dead_letter.at_ms)[:19].replace("T", " "),
        dead_letter.camera or _NOTHING,
        failure.stage,
        failure.reason,
        failure.error,
        f"{failure.topic} {failure.partition}:{failure.offset}",
        _size(dead_letter),
    ]


def json_line(dead_letter: DeadLetter) -> str:
    """One JSON object with everything but the bytes and the record's own headers."""
    failure = dead_letter.failure
    known = {
        "letter": _position(dead_letter),
        "written_at": _at(dead_letter.at_ms),
        "camera": dead_letter.camera or None,
        "stage": failure.stage,
        "reason": failure.reason,
        "error": failure.error,
        "topic": failure.topic,
        "partition": failure.partition,
        "offset": failure.offset,
        "timestamp": None if failure.timestamp_ms is None else _at(failure.timestamp_ms),
        "size_bytes": dead_letter.size_bytes,
        "whole": dead_letter.whole,
    }
    return msgspec.json.encode(known).decode()


def full(dead_letter: DeadLetter) -> RenderableType:
    """Everything about one dead letter but its bytes."""
    failure = dead_letter.failure
    facts = {
        "position": _position(dead_letter),
        "written": _at(dead_letter.at_ms),
        "stage": failure.stage,
        "reason": failure.reason,
        "error": failure.error,
        "record": f"{failure.topic} {failure.partition}:{failure.offset}",
        "timestamp": _NOTHING if failure.timestamp_ms is None else _at(failure.timestamp_ms),
        "key": dead_letter.camera or _NOTHING,
        "size": _size(dead_letter),
    }
    headers = {name: (value or b"").decode(errors="replace") for name, value in dead_letter.headers}
    return Group(_pairs(facts), Text("\nheaders of the record"), _pairs(headers or {_NOTHING: ""}))


def _pairs(pairs: dict[str, str]) -> Table:
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs.items():
        shown.add_row(Text(printable(name)), Text(printable(value)))
    return shown


def _position(dead_letter: DeadLetter) -> str:
    """The position in the form that the commands accept."""
    return "{}:{}".format(*dead_letter.position)


def _at(at_ms: int) -> str:
    try:
        return to_rfc3339(at_ms * US_PER_MS)
    except OverflowError:  # a producer may send any number
        return f"{at_ms} ms"


def _size(dead_letter: DeadLetter) -> str:
    return f"{dead_letter.size_bytes / BYTES_PER_KB:.1f} kB" + ("" if dead_letter.whole else ", not kept")
