"""`framematch watch`: subscribe to the match events and show them as they come."""

import asyncio
from pathlib import Path

import msgspec
import structlog
import typer
from rich.console import Console
from rich.text import Text

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.core.events import MatchEvent, decode
from framematch.core.kafka import new_consumer, started
from framematch.core.lifecycle import run_service
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import from_rfc3339, now_us
from framematch.core.topics import Topics, ensure_topics

log = structlog.get_logger()

_STYLES = {"match": "bold green", "ambiguous": "yellow", "unknown": "dim"}


def watch(
    config: Path | None = CONFIG_OPTION,
    camera: str | None = typer.Option(None, help="Show this camera alone."),
    as_json: bool = typer.Option(False, "--json", help="One JSON event a line, as it is in the topic."),
    from_beginning: bool = typer.Option(False, help="Start with the oldest event there is, not with new ones."),
) -> None:
    """Subscribe to the matches topic and print each event; Ctrl-C ends it.

    Examples: `framematch watch`, `framematch watch --camera till-1 --json | jq .product.name`
    """
    kafka = prepare_command("watch", config).kafka
    start = "earliest" if from_beginning else "latest"

    async def main(stop: asyncio.Event) -> None:
        await _show(kafka, stop, camera=camera, as_json=as_json, start=start)

    run_service(main, shutdown_deadline_s=5.0)


def event_line(event: MatchEvent, age_ms: float) -> Text:
    """One event as a line for people: time, camera, decision, product, score, margin, and its age when it arrived."""
    known = event.product.name if event.product else (event.candidates[0].product_id if event.candidates else "-")
    price = f" {event.product.price:.2f}" if event.product and event.product.price is not None else ""
    score = "     -" if event.score is None else f"{event.score:6.3f}"
    margin = "     -" if event.margin is None else f"{event.margin:+6.3f}"
    line = Text(f"{event.frame.captured_at[11:23]}  {event.frame.camera:<12} ")
    line.append(f"{event.decision:<9}", style=_STYLES[event.decision])
    line.append(f" {known + price:<36}", style="bold" if event.product else "dim")
    return line.append(f" {score} {margin} {age_ms:7.0f} ms")


async def _show(kafka: KafkaSettings, stop: asyncio.Event, *, camera: str | None, as_json: bool, start: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    topic = Topics(kafka.topic_prefix).matches
    await ensure_topics(kafka)  # a watcher may come first
    # Without a group every watcher sees every event.
    async with started(new_consumer(kafka, topic, auto_offset_reset=start), kafka) as consumer:
        log.info("watch_started", topic=topic)
        while not stop.is_set():
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if camera is None or record.key == camera.encode():
                        _print(console, record.value, as_json=as_json)


def _print(console: Console, value: bytes, *, as_json: bool) -> None:
    if as_json:
        console.out(value.decode(errors="replace"))
        return
    try:
        event = decode(value, MatchEvent)
    except msgspec.DecodeError as error:
        log.warning("event_unreadable", error=str(error))
        return
    console.print(event_line(event, (now_us() - from_rfc3339(event.frame.came_at)) / 1_000))
