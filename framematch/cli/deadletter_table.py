"""Dead letters for people and for programs: a row, a JSON line, one in full."""

from collections.abc import Iterable

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from framematch.cli.text import printable
from framematch.core.deadletters import Letter
from framematch.core.timestamps import to_rfc3339

_US_PER_MS = 1_000
_NOTHING = "-"


def table(letters: Iterable[Letter]) -> Table:
    """A row for each letter."""
    shown = Table(box=None, pad_edge=False)
    for name in ("Letter", "Written (UTC)", "Camera", "Stage", "Reason"):
        shown.add_column(name, no_wrap=True)
    shown.add_column("Error", overflow="fold")
    shown.add_column("Record", no_wrap=True)
    shown.add_column("Size", justify="right", no_wrap=True)
    for letter in letters:
        shown.add_row(*map(Text, map(printable, _row(letter))))
    return shown


def _row(letter: Letter) -> list[str]:
    failure = letter.failure
    return [
        _place(letter),
        _at(letter.at_ms)[:19].replace("T", " "),
        letter.camera or _NOTHING,
        failure.stage,
        failure.reason,
        failure.error,
        f"{failure.topic} {failure.partition}:{failure.offset}",
        _size(letter),
    ]


def json_line(letter: Letter) -> str:
    """One JSON object with all but the bytes and the record's own headers."""
    failure = letter.failure
    known = {
        "letter": _place(letter),
        "written_at": _at(letter.at_ms),
        "camera": letter.camera or None,
        "stage": failure.stage,
        "reason": failure.reason,
        "error": failure.error,
        "topic": failure.topic,
        "partition": failure.partition,
        "offset": failure.offset,
        "timestamp": None if failure.timestamp_ms is None else _at(failure.timestamp_ms),
        "size_bytes": letter.size_bytes,
        "whole": letter.whole,
    }
    return msgspec.json.encode(known).decode()


def full(letter: Letter) -> RenderableType:
    """Everything that is known of one letter, but for its bytes."""
    failure = letter.failure
    facts = {
        "letter": _place(letter),
        "written": _at(letter.at_ms),
        "stage": failure.stage,
        "reason": failure.reason,
        "error": failure.error,
        "record": f"{failure.topic} {failure.partition}:{failure.offset}",
        "timestamp": _NOTHING if failure.timestamp_ms is None else _at(failure.timestamp_ms),
        "key": letter.camera or _NOTHING,
        "size": _size(letter),
    }
    headers = {name: (value or b"").decode(errors="replace") for name, value in letter.headers}
    return Group(_pairs(facts), Text("\nheaders of the record"), _pairs(headers or {_NOTHING: ""}))


def _pairs(pairs: dict[str, str]) -> Table:
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs.items():
        shown.add_row(Text(printable(name)), Text(printable(value)))
    return shown


def _place(letter: Letter) -> str:
    """As the commands take it."""
    return "{}:{}".format(*letter.position)


def _at(at_ms: int) -> str:
    return to_rfc3339(at_ms * _US_PER_MS)


def _size(letter: Letter) -> str:
    return f"{letter.size_bytes / 1e3:.1f} kB" + ("" if letter.whole else ", not kept")
