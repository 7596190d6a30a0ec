"""Match events at a terminal: one event as a line, and a table with the latest event of each camera."""

from collections import deque

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from framematch.cli.amounts import shown_price
from framematch.cli.text import counted, duration, one_line
from framematch.core.events import MatchEvent
from framematch.core.printable import printable
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import MS_PER_S, US_PER_S

RECENT = 8
"""Number of events listed below a table."""

_STYLES = {"match": "bold green", "ambiguous": "yellow", "unknown": "dim"}
_RATE_WINDOW_S = 10.0
_NOTHING = "-"


def event_line(event: MatchEvent, age_ms: float) -> Text:
    """An event as a line: time, camera, decision, product, score, margin, age on arrival, and why it is no match."""
    score = "     -" if event.score is None else f"{event.score:6.3f}"
    margin = "     -" if event.margin is None else f"{event.margin:+6.3f}"
    line = Text(f"{printable(event.frame.captured_at[11:23])}  {printable(event.frame.camera):<12} ")
    line.append(f"{event.decision:<9}", style=_STYLES[event.decision])
    line.append(f" {nearest(event):<36}", style="bold" if event.product else "dim")
    line.append(f" {score} {margin} {age_ms:7.0f} ms")
    return line.append(f"  {_reason(event)}" if event.reason else "", style="dim")


def _reason(event: MatchEvent) -> str:
    return (event.reason or "").replace("_", " ")


def nearest(event: MatchEvent) -> str:
    """The matched product with its price, else the id of the nearest product."""
    if event.product is None:
        return printable(event.candidates[0].product_id) if event.candidates else _NOTHING
    price = shown_price(event.product.price, event.product.currency)
    return f"{printable(event.product.name)} {price}".rstrip()


def event_age_s(event: MatchEvent, now_us: int) -> float:
    """Time since the arrival of the event's frame, by the edge's clock and ours.

    Raises:
        ValueError: the event's time is invalid.
    """
    return (now_us - from_rfc3339(event.frame.arrived_at)) / US_PER_S


class EventRate:
    """Events per second, over the last ten seconds."""

    def __init__(self) -> None:
        self._times_us: deque[int] = deque()
        self._since_us: int | None = None

    def count(self, now_us: int) -> None:
        """Count an event that arrived now."""
        self._since_us = self._since_us or now_us
        self._times_us.append(now_us)

    def per_s(self, now_us: int) -> float:
        """The rate; over a shorter time (at least a second) when the first event is more recent."""
        while self._times_us and now_us - self._times_us[0] > _RATE_WINDOW_S * US_PER_S:
            self._times_us.popleft()
        counted_s = (now_us - (self._since_us or now_us)) / US_PER_S
        return len(self._times_us) / min(max(counted_s, 1.0), _RATE_WINDOW_S)


class MatchTable:
    """The latest event and the event rate of each camera, and the latest events of all."""

    def __init__(self) -> None:
        self._last: dict[str, MatchEvent] = {}
        self._rates: dict[str, EventRate] = {}
        self._recent: deque[Text] = deque(maxlen=RECENT)

    def update(self, event: MatchEvent, now_us: int) -> None:
        """Add an event that arrived now.

        Raises:
            ValueError: the event's time is invalid.
        """
        self._recent.append(one_line(event_line(event, event_age_s(event, now_us) * MS_PER_S)))
        self._last[event.frame.camera] = event
        self._rates.setdefault(event.frame.camera, EventRate()).count(now_us)

    def view(self, now_us: int, height: int) -> RenderableType:
        """The table and the latest events for a terminal with `height` lines; cameras that do not fit are counted."""
        if not self._last:
            return Text("waiting for match events", style="dim")
        table = Table(box=None, pad_edge=False)
        table.add_column("Camera", no_wrap=True)
        table.add_column("Decision", no_wrap=True)
        table.add_column("Product")  # the only one that shrinks in a narrow terminal
        for name in ("Score", "Margin", "Age", "Events/s"):
            table.add_column(name, justify="right", no_wrap=True)
        shown = sorted(self._last)[: max(1, height - RECENT - 4)]
        for camera in shown:
            table.add_row(*self._row(self._last[camera], now_us))
        return Group(table, self._summary(now_us, hidden=len(self._last) - len(shown)), Text(), *self._recent)

    def _row(self, event: MatchEvent, now_us: int) -> list[Text]:
        figures = (
            _NOTHING if event.score is None else f"{event.score:.3f}",
            _NOTHING if event.margin is None else f"{event.margin:+.3f}",
            duration(max(0.0, event_age_s(event, now_us))),
            f"{self._rates[event.frame.camera].per_s(now_us):.1f}",
        )
        return [
            Text(printable(event.frame.camera)),
            Text(", ".join(filter(None, (event.decision, _reason(event)))), style=_STYLES[event.decision]),
            one_line(Text(nearest(event), style="bold" if event.product else "dim")),
            *map(Text, figures),
        ]

    def _summary(self, now_us: int, *, hidden: int) -> Text:
        per_s = sum(rate.per_s(now_us) for rate in self._rates.values())
        more = f", {hidden} of them not shown: use --camera" if hidden else ""
        return Text(f"{counted(len(self._last), 'camera')}, {per_s:.1f} events/s{more}", style="dim")
