"""`framematch watch`: subscribe to match events or sightings and show them as they come."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Protocol, TypeVar

import structlog
import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.match_board import MatchBoard, event_age_s, event_line
from framematch.cli.sighting_board import SightingBoard, sighting_line
from framematch.core.errors import UsageError
from framematch.core.event_reader import Selection, Start, open_events
from framematch.core.events import MatchEvent, Message
from framematch.core.kafka.topics import Topics
from framematch.core.lifecycle import first_of, run_service
from framematch.core.settings import KafkaSettings
from framematch.core.subscribe import select_matches, select_sightings
from framematch.core.timestamps import now_us

log = structlog.get_logger()

_DRAW_S = 0.5

Shown = TypeVar("Shown", contravariant=True)  # noqa: PLC0105  # reads better than Shown_contra


class Board(Protocol[Shown]):
    """Takes events in, and shows where things stand."""

    def take(self, event: Shown, now_us: int, /) -> None:
        """Take in an event that came now; a ValueError says what is wrong with it."""

    def view(self, now_us: int, height: int) -> RenderableType:
        """All of it for a terminal with `height` lines."""


@dataclass(frozen=True)
class Feed(Generic[Message]):
    """Where events come from, which of them are wanted, and how they are shown."""

    kafka: KafkaSettings
    topic: str
    selection: Selection[Message]
    start: Start
    line: Callable[[Message], Text]
    board: Board[Message]


def watch(
    *,
    config: Path | None = CONFIG_OPTION,
    camera: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Show this camera alone; give it several times for several.")
    ] = None,
    product: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Show matches with this product alone.")
    ] = None,
    decision: Annotated[
        list[str] | None, typer.Option(metavar="match|ambiguous|unknown", help="Show this decision alone.")
    ] = None,
    sightings: Annotated[
        bool, typer.Option("--sightings", help="Show when products come and leave, in place of match events.")
    ] = False,
    lines: Annotated[bool, typer.Option("--lines", help="One line an event, as without a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON event a line, as it is in the topic.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest event there is, not with new ones.")
    ] = False,
) -> None:
    """Show what cameras see, live, until Ctrl-C: the last decision of each camera, and the last events.

    Examples: `framematch watch`, `framematch watch --camera till-1 --json | jq .product.name`
    """
    kafka = prepare_command("watch", config).kafka
    topics = Topics(kafka.topic_prefix)
    start: Start = "earliest" if from_beginning else "latest"
    if sightings and decision:
        raise UsageError("--decision is for match events, not for --sightings", hint="Leave one of them out")
    if sightings:
        chosen = select_sightings(camera or (), product or ())
        products = Feed(kafka, topics.sightings, chosen, start, sighting_line, SightingBoard())
        _run(products, lines=lines, as_json=as_json)
    else:
        wanted = select_matches(camera or (), product or (), decision or ())
        _run(Feed(kafka, topics.matches, wanted, start, _line, MatchBoard()), lines=lines, as_json=as_json)


def _run(feed: Feed[Message], *, lines: bool, as_json: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    live = console.is_terminal and not lines and not as_json

    async def main(stop: asyncio.Event) -> None:
        await first_of(stop.wait(), _draw(feed, console) if live else _print(feed, console, as_json))

    run_service(main, shutdown_deadline_s=5.0)


async def _print(feed: Feed[Message], console: Console, as_json: bool) -> None:
    def show(event: Message, value: bytes) -> None:
        if as_json:
            console.out(value.decode(errors="replace"))
        else:
            console.print(feed.line(event))

    await _read(feed, show)


async def _draw(feed: Feed[Message], console: Console) -> None:
    """Draw the table anew twice a second: ages grow while nothing comes."""
    with Live(console=console, auto_refresh=False) as live:

        async def draw() -> None:
            while True:
                live.update(feed.board.view(now_us(), console.height), refresh=True)
                await asyncio.sleep(_DRAW_S)

        await first_of(draw(), _read(feed, lambda event, _value: feed.board.take(event, now_us())))


async def _read(feed: Feed[Message], show: Callable[[Message, bytes], None]) -> None:
    # Without a group every watcher sees every event.
    async with open_events(feed.kafka, feed.topic, feed.selection, group_id=None, start=feed.start) as events:
        async for received in events:
            try:
                show(received.event, received.value)
            except ValueError as error:  # a time that is none
                log.warning("event_unreadable", error=str(error))


def _line(event: MatchEvent) -> Text:
    return event_line(event, event_age_s(event, now_us()) * 1_000)
