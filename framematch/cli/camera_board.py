"""What is known of all cameras from the topic `.status`, and the table that shows it."""

from dataclasses import dataclass
from typing import Literal

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from framematch.cli.text import duration, printable
from framematch.core.events import CameraStatus, decode
from framematch.core.timestamps import from_rfc3339

Shown = Literal["offline", "stale", "degraded", "online"]

ORDER: tuple[Shown, ...] = ("offline", "stale", "degraded", "online")  # what needs someone comes first
_STYLES = {"offline": "bold red", "stale": "magenta", "degraded": "yellow", "online": "green"}
_STALE_INTERVALS = 3
_US_PER_S = 1e6
_NOTHING = "-"


@dataclass(frozen=True)
class Entry:
    """The last status of a camera, and its bytes as they are in the topic."""

    status: CameraStatus
    value: bytes


class CameraBoard:
    """The last status of each camera; of `camera` alone when it is given.

    An edge that says nothing for three of its intervals may be gone, and its cameras are `stale`. `interval_s` stands
    for that of an older edge, which does not tell its own.
    """

    def __init__(self, interval_s: float, camera: str | None = None) -> None:
        self._interval_s = interval_s
        self._camera = camera
        self._entries: dict[str, Entry] = {}

    def take(self, key: bytes | None, value: bytes | None) -> Entry | None:
        """Take in one record of the topic; the entry that it makes, None for a tombstone or another camera.

        Raises:
            msgspec.DecodeError: it is no camera's status.
        """
        name = (key or b"").decode(errors="replace")
        if self._camera is not None and name != self._camera:
            return None
        if value is None:
            self._entries.pop(name, None)
            return None
        status = decode(value, CameraStatus)
        try:
            from_rfc3339(status.at)
            from_rfc3339(status.since or status.at)
        except ValueError as error:
            raise msgspec.DecodeError(str(error)) from None
        self._entries[name] = Entry(status, value)
        return self._entries[name]

    def entries(self, now_us: int) -> list[Entry]:
        """All entries, in the order in which they are shown."""
        return sorted(
            self._entries.values(),
            key=lambda entry: (ORDER.index(self.shown(entry.status, now_us)), entry.status.camera),
        )

    def shown(self, status: CameraStatus, now_us: int) -> Shown:
        """The state of `status` at a time: its own, or `stale`."""
        allowed_s = _STALE_INTERVALS * (status.interval_s or self._interval_s)
        return "stale" if age_s(status, now_us) > allowed_s else status.state

    def counts(self, now_us: int) -> dict[Shown, int]:
        """How many cameras are in each state, of those states that there are."""
        states = [self.shown(entry.status, now_us) for entry in self._entries.values()]
        return {state: states.count(state) for state in ORDER if state in states}

    def table(self, now_us: int) -> RenderableType:
        """All of it for a terminal."""
        if not self._entries:
            who = f"camera {self._camera}" if self._camera else "any camera"
            return Text(f"There is no status of {who} yet: an edge tells it when it runs", style="dim")
        table = Table(box=None, pad_edge=False)
        for name in ("Camera", "State", "For"):
            table.add_column(name, no_wrap=True)
        for name in ("Source fps", "Sent fps", "Frame age", "Lag", "Reconnects", "On disk", "Told"):
            table.add_column(name, justify="right")
        table.add_column("Dropped in all", max_width=24)
        table.add_column("Why", ratio=1)
        entries = self.entries(now_us)
        for entry in entries:
            table.add_row(*self._row(entry.status, now_us))
        refused = sorted({entry.status.settings_error for entry in entries if entry.status.settings_error})
        notes = [Text(f"Changed settings are not in force: {printable(why)}", style="yellow") for why in refused]
        return Group(table, Text(summary(self.counts(now_us)), style="dim"), *notes)

    def _row(self, status: CameraStatus, now_us: int) -> list[Text]:
        state, told_s = self.shown(status, now_us), age_s(status, now_us)
        why = printable(status.reason or "")
        # What a silent edge has last said about the pace of its frames does not hold any more.
        pace = [_NOTHING] * 2 if state == "stale" else [f"{status.source_fps:.1f}", f"{status.sent_fps:.1f}"]
        if state == "stale":
            was = f"{status.state}: {why}" if why else status.state
            why = f"the edge is silent and may be gone; the camera was {was}"
        cells = (
            *pace,
            _NOTHING if status.last_frame_age_s is None else duration(status.last_frame_age_s + told_s),
            _NOTHING if status.lag_s is None else duration(status.lag_s),
            str(status.reconnects),
            f"{status.spooled_frames} ({status.spooled_bytes / 1e6:.1f} MB)" if status.spooled_frames else _NOTHING,
            duration(told_s),
            ", ".join(f"{printable(reason)} {count}" for reason, count in sorted(status.drops.items())) or _NOTHING,
            why,
        )
        held = _NOTHING if status.since is None else duration(_since_s(status.since, now_us))
        return [Text(status.camera), Text(state, style=_STYLES[state]), Text(held), *map(Text, cells)]


def age_s(status: CameraStatus, now_us: int) -> float:
    """How old a status is, by our clock and the edge's; never less than 0."""
    return _since_s(status.at, now_us)


def summary(counts: dict[Shown, int]) -> str:
    """`2 offline, 10 online`; empty without cameras."""
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _since_s(at: str, now_us: int) -> float:
    return max(0.0, (now_us - from_rfc3339(at)) / _US_PER_S)
