"""Sightings at a terminal: one event as a line, and a table of the products that are in view now."""

from collections import deque

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from framematch.cli.match_table import RECENT
from framematch.cli.text import counted, duration, one_line
from framematch.core.events import SightingEvent
from framematch.core.printable import printable
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import US_PER_S

_STYLES = {"started": "bold green", "updated": "dim", "ended": "yellow"}


def sighting_line(event: SightingEvent) -> Text:
    """An event as a line: time, camera, kind, product, duration, frames, best score, the product before a change."""
    line = Text(f"{printable(event.last_seen_at[11:23])}  {printable(event.camera):<12} ")
    line.append(f"{event.kind:<9}", style=_STYLES[event.kind])
    line.append(f" {printable(event.product.name):<36}", style="bold")
    seen_s = (from_rfc3339(event.last_seen_at) - from_rfc3339(event.started_at)) / US_PER_S
    line.append(f" {duration(seen_s):>8} {event.frames:6} frames {event.best.score:6.3f}")
    return line.append(f"  was {printable(event.changed_from)}", style="yellow") if event.changed_from else line


class SightingTable:
    """The sightings that have not ended, and the latest events."""

    def __init__(self) -> None:
        self._open: dict[str, SightingEvent] = {}
        self._recent: deque[Text] = deque(maxlen=RECENT)

    def update(self, event: SightingEvent, _now_us: int) -> None:
        """Add an event that arrived now.

        Raises:
            ValueError: the event's times are invalid.
        """
        self._recent.append(one_line(sighting_line(event)))
        if event.kind == "ended":
            self._open.pop(event.sighting, None)
        else:
            self._open[event.sighting] = event

    def view(self, now_us: int, height: int) -> RenderableType:
        """The table and the latest events for a terminal with `height` lines; sightings that do not fit are counted."""
        if not self._recent:
            return Text("waiting for sightings", style="dim")
        table = Table(box=None, pad_edge=False)
        table.add_column("Camera", no_wrap=True)
        table.add_column("Product")  # the only one that shrinks in a narrow terminal
        for name in ("In view for", "Last seen", "Frames", "Best score"):
            table.add_column(name, justify="right", no_wrap=True)
        found = sorted(self._open.values(), key=lambda event: (event.camera, event.started_at))
        shown = found[: max(1, height - RECENT - 4)]
        for event in shown:
            table.add_row(*_row(event, now_us))
        more = f", {len(found) - len(shown)} of them not shown: use --camera" if len(found) > len(shown) else ""
        return Group(table, Text(f"{counted(len(found), 'product')} in view{more}", style="dim"), Text(), *self._recent)


def _row(event: SightingEvent, now_us: int) -> list[Text]:
    ago_s = [max(0.0, now_us - from_rfc3339(at)) / US_PER_S for at in (event.started_at, event.last_seen_at)]
    figures = (*map(duration, ago_s), str(event.frames), f"{event.best.score:.3f}")
    return [Text(printable(event.camera)), one_line(Text(printable(event.product.name))), *map(Text, figures)]
