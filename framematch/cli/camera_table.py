"""The latest status of all cameras, and the table that shows it."""

from dataclasses import dataclass
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from framematch.cli.text import duration
from framematch.core.events import CameraStatus, decode
from framematch.core.printable import printable
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import BYTES_PER_MB, US_PER_S

Shown = Literal["offline", "stale", "degraded", "online"]

ORDER: tuple[Shown, ...] = ("offline", "stale", "degraded", "online")  # the worst first
_STYLES = {"offline": "bold red", "stale": "magenta", "degraded": "yellow", "online": "green"}
_STALE_INTERVALS = 3

_NOTHING = "-"


@dataclass(frozen=True)
class Entry:
    """The latest status of a camera, and its bytes in the topic."""

    status: CameraStatus
    value: bytes


class CameraTable:
    """The latest status of each camera, or only of `camera`.

    A camera is `stale` without a status for three intervals, as its edge may have died. `interval_s` is used for the
    statuses of an older edge, which do not contain their interval.
    """

    def __init__(self, interval_s: float, camera: str | None = None) -> None:
        self._interval_s = interval_s
        self._camera = camera
        self._entries: dict[str, Entry] = {}

    def update(self, key: bytes | None, value: bytes | None) -> Entry | None:
        """Apply one record of the topic; returns the new entry, None for a tombstone or another camera.

        Raises:
            msgspec.DecodeError: the record is no camera status.
        """
        name = (key or b"").decode(errors="replace")
        if self._camera is not None and name != self._camera:
            return None
        if value is None:
            self._entries.pop(name, None)
            return None
        self._entries[name] = Entry(decode(value, CameraStatus), value)
        return self._entries[name]

    def entries(self, now_us: int) -> list[Entry]:
        """All entries, in the order of the table."""
        return sorted(
            self._entries.values(),
            key=lambda entry: (ORDER.index(self.shown(entry.status, now_us)), entry.status.camera),
        )

    def shown(self, status: CameraStatus, now_us: int) -> Shown:
        """The state of `status` at this time: its own, or `stale`."""
        allowed_s = _STALE_INTERVALS * (status.interval_s or self._interval_s)
        return "stale" if _since_s(status.at, now_us) > allowed_s else status.state

    def counts(self, now_us: int) -> dict[Shown, int]:
        """The number of cameras in each state; states without cameras are left out."""
        states = [self.shown(entry.status, now_us) for entry in self._entries.values()]
        return {state: states.count(state) for state in ORDER if state in states}

    def view(self, now_us: int) -> RenderableType:
        """The table with a summary."""
        if not self._entries:
            which = f"camera {self._camera}" if self._camera else "any camera"
            return Text(f"There is no status of {which} yet: a running edge publishes it", style="dim")
        table = Table(box=None, pad_edge=False)
        for name in ("Camera", "State", "For"):
            table.add_column(name, no_wrap=True)
        for name in ("Source fps", "Sent fps", "Frame age", "Lag", "Reconnects", "On disk", "Status age", "Decoder"):
            table.add_column(name, justify="right")
        table.add_column("Dropped", max_width=24)
        table.add_column("Reason", ratio=1)
        entries = self.entries(now_us)
        for entry in entries:
            table.add_row(*self._row(entry.status, now_us))
        refused = sorted({entry.status.settings_error for entry in entries if entry.status.settings_error})
        notes = [Text(f"Changed settings were rejected: {printable(why)}", style="yellow") for why in refused]
        notes += [_decoder_note(entry.status) for entry in entries if entry.status.decoder_reason]
        return Group(table, Text(summary(self.counts(now_us)), style="dim"), *notes)

    def _row(self, status: CameraStatus, now_us: int) -> list[Text]:
        state, status_age_s = self.shown(status, now_us), _since_s(status.at, now_us)
        reason = printable(status.reason or "")
        rates = [f"{status.source_fps:.1f}", f"{status.sent_fps:.1f}"]
        if state == "stale":
            rates = [_NOTHING] * 2  # no longer valid
            last = f"{status.state}: {reason}" if reason else status.state
            reason = f"the edge is silent and may have died; the camera was {last}"
        if status.refused is not None and not reason.startswith("refused:"):
            reason = f"{reason}; " if reason else ""
            reason += f"newer settings refused: {printable(status.refused.reason)}"
        cells = (
            *rates,
            _NOTHING if status.last_frame_age_s is None else duration(status.last_frame_age_s + status_age_s),
            _NOTHING if status.lag_s is None else duration(status.lag_s),
            str(status.reconnects),
            f"{status.spooled_frames} ({status.spooled_bytes / BYTES_PER_MB:.1f} MB)"
            if status.spooled_frames
            else _NOTHING,
            duration(status_age_s),
            printable(status.decoder or _NOTHING),
            ", ".join(f"{printable(reason)} {count}" for reason, count in sorted(status.drops.items())) or _NOTHING,
            reason,
        )
        lasted = _NOTHING if status.since is None else duration(_since_s(status.since, now_us))
        return [Text(printable(status.camera)), Text(state, style=_STYLES[state]), Text(lasted), *map(Text, cells)]


def _decoder_note(status: CameraStatus) -> Text:
    why = f"{status.camera} is decoded in {status.decoder}: {status.decoder_reason}"
    return Text(printable(why), style="dim")


def summary(counts: dict[Shown, int]) -> str:
    """For example `2 offline, 10 online`; empty without cameras."""
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _since_s(at: str, now_us: int) -> float:
    # Of the edge's clock and ours.
    return max(0.0, (now_us - from_rfc3339(at)) / US_PER_S)
