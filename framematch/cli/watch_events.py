"""Shows the events of a topic as they are published: live tables, lines, or JSON."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from framematch.cli.console import SafeConsole, new_console
from framematch.cli.match_table import MatchTable, event_age_s, event_line
from framematch.cli.sighting_table import SightingTable, sighting_line
from framematch.core.event_reader import Selection, open_events
from framematch.core.events import MatchEvent, Message
from framematch.core.kafka.offsets import StartAt
from framematch.core.kafka.topics import Topics
from framematch.core.lifecycle import first_of, run_service
from framematch.core.settings import KafkaSettings
from framematch.core.subscribe import select_matches, select_sightings
from framematch.core.timestamps import now_us
from framematch.core.units import MS_PER_S

_DRAW_INTERVAL_S = 0.5

Shown = TypeVar("Shown", contravariant=True)  # noqa: PLC0105  # reads better than Shown_contra


class EventTable(Protocol[Shown]):
    """The state after some events, to be shown at a terminal."""

    def update(self, event: Shown, now_us: int, /) -> None:
        """Add an event that arrived now; raises ValueError when its times are invalid."""

    def view(self, now_us: int, height: int) -> RenderableType:
        """The table for a terminal with `height` lines."""


@dataclass(frozen=True)
class Feed(Generic[Message]):
    """The topic, which of its events are selected, and how they are shown."""

    kafka: KafkaSettings
    topic: str
    selection: Selection[Message]
    start: StartAt
    line: Callable[[Message], Text]
    table: EventTable[Message]


@dataclass(frozen=True)
class Wanted:
    """What to show: of all cameras, products and decisions when empty."""

    cameras: Sequence[str] = ()
    products: Sequence[str] = ()
    decisions: Sequence[str] = ()
    start: StartAt = "latest"


def show_matches(kafka: KafkaSettings, wanted: Wanted, *, lines: bool, as_json: bool) -> None:
    """Show match events until Ctrl-C."""
    chosen = select_matches(wanted.cameras, wanted.products, wanted.decisions)
    topic = Topics(kafka.topic_prefix).matches
    _run(Feed(kafka, topic, chosen, wanted.start, _line, MatchTable()), lines=lines, as_json=as_json)


def show_sightings(kafka: KafkaSettings, wanted: Wanted, *, lines: bool, as_json: bool) -> None:
    """Show sightings until Ctrl-C."""
    chosen = select_sightings(wanted.cameras, wanted.products)
    topic = Topics(kafka.topic_prefix).sightings
    _run(Feed(kafka, topic, chosen, wanted.start, sighting_line, SightingTable()), lines=lines, as_json=as_json)


def _run(feed: Feed[Message], *, lines: bool, as_json: bool) -> None:
    console = new_console(soft_wrap=True)
    live = console.is_terminal and not lines and not as_json

    async def main(stop: asyncio.Event) -> None:
        await first_of(stop.wait(), _draw(feed, console) if live else _print(feed, console, as_json))

    run_service(main, shutdown_deadline_s=5.0)


async def _print(feed: Feed[Message], console: SafeConsole, as_json: bool) -> None:
    def show(event: Message, value: bytes) -> None:
        if as_json:
            console.out_json(value)
        else:
            console.print(feed.line(event))

    await _read(feed, show)


async def _draw(feed: Feed[Message], console: SafeConsole) -> None:
    """Redraw the table twice a second, as ages grow even without new events."""
    with Live(console=console, auto_refresh=False) as live:

        async def draw() -> None:
            while True:
                live.update(feed.table.view(now_us(), console.height), refresh=True)
                await asyncio.sleep(_DRAW_INTERVAL_S)

        await first_of(draw(), _read(feed, lambda event, _value: feed.table.update(event, now_us())))


async def _read(feed: Feed[Message], show: Callable[[Message, bytes], None]) -> None:
    # Without a group every watcher sees every event.
    async with open_events(feed.kafka, feed.topic, feed.selection, group_id=None, start=feed.start) as events:
        async for received in events:
            show(received.event, received.value)


def _line(event: MatchEvent) -> Text:
    return event_line(event, event_age_s(event, now_us()) * MS_PER_S)
