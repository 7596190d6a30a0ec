"""`framematch cameras`: how all cameras are doing, as a live table or as JSON."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
import typer
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from rich.console import Console
from rich.live import Live

from framematch.cli.camera_board import CameraBoard, Entry
from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.core.errors import KafkaUnavailableError
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.topics import Topics, topic_exists
from framematch.core.lifecycle import run_service
from framematch.core.settings import KafkaSettings
from framematch.core.timestamps import now_us

log = structlog.get_logger()

_POLL_MS = 500
_TOPIC_POLL_S = 1.0
_CATCH_UP_S = 30.0  # the topic is compacted: this is for a broker that does not answer
_WIDTH_WITHOUT_TERMINAL = 200


def cameras(
    config: Path | None = CONFIG_OPTION,
    camera: str | None = typer.Option(None, help="Show this camera alone."),
    as_json: bool = typer.Option(False, "--json", help="One JSON status a line: what is known, then new ones."),
    once: bool = typer.Option(False, help="Print what is known and end, as without a terminal."),
) -> None:
    """Show how every camera is doing, from the status topic, until Ctrl-C.

    A camera is offline (its source is not open), stale (its edge has been silent for three status intervals), degraded
    (frames were dropped, wait on disk or come late) or online.

    Examples: `framematch cameras`, `framematch cameras --once --json | jq 'select(.state != "online") | .camera'`
    """
    settings = prepare_command("cameras", config)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)
        once = once or not as_json
    board = CameraBoard(settings.edge.status_interval_s, camera)

    async def main(stop: asyncio.Event) -> None:
        if once:
            await read_known(settings.kafka, board)
            _print(console, board, as_json=as_json)
        elif as_json:
            await _stream(settings.kafka, board, console, stop)
        else:
            await _show(settings.kafka, board, console, stop)

    run_service(main, shutdown_deadline_s=5.0)


async def read_known(kafka: KafkaSettings, board: CameraBoard) -> None:
    """Take in every status that the topic holds now; none when there is no such topic yet.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
    """
    if await topic_exists(kafka, _topic(kafka)):
        async with started(_consumer(kafka), kafka) as consumer:
            await _catch_up(kafka, consumer, board)


async def _show(kafka: KafkaSettings, board: CameraBoard, console: Console, stop: asyncio.Event) -> None:
    """Draw the table anew twice a second: ages grow while nothing comes."""
    with Live(console=console, auto_refresh=False) as live:
        live.update(f"waiting for the topic {_topic(kafka)}: an edge makes it when it starts", refresh=True)
        if not await _topic_appears(kafka, stop):
            return
        async with started(_consumer(kafka), kafka) as consumer:
            await _catch_up(kafka, consumer, board)
            while not stop.is_set():
                live.update(board.table(now_us()), refresh=True)
                _take(board, await _next(kafka, consumer))


async def _stream(kafka: KafkaSettings, board: CameraBoard, console: Console, stop: asyncio.Event) -> None:
    """Print the last status of each camera, then every new one."""
    if not await _topic_appears(kafka, stop):
        return
    async with started(_consumer(kafka), kafka) as consumer:
        await _catch_up(kafka, consumer, board)
        _print(console, board, as_json=True)
        while not stop.is_set():
            for entry in _take(board, await _next(kafka, consumer)):
                _print_json(console, entry)


def _print(console: Console, board: CameraBoard, *, as_json: bool) -> None:
    if not as_json:
        console.print(board.table(now_us()))
        return
    for entry in board.entries(now_us()):
        _print_json(console, entry)


def _print_json(console: Console, entry: Entry) -> None:
    console.out(entry.value.decode(errors="replace"))


def _take(board: CameraBoard, records: Iterable[ConsumerRecord]) -> list[Entry]:
    taken = []
    for record in records:
        try:
            entry = board.take(record.key, record.value)
        except msgspec.DecodeError as error:
            log.warning("status_unreadable", offset=record.offset, error=str(error))
        else:
            taken += [entry] if entry else []
    return taken


def _topic(kafka: KafkaSettings) -> str:
    return Topics(kafka.topic_prefix).status


def _consumer(kafka: KafkaSettings) -> AIOKafkaConsumer:
    # Without a group it gets all partitions at once, and sees every status.
    return new_consumer(kafka, _topic(kafka), auto_offset_reset="earliest")


async def _topic_appears(kafka: KafkaSettings, stop: asyncio.Event) -> bool:
    """Wait for it, a viewer makes no topics; False when told to stop before."""
    while not stop.is_set():
        if await topic_exists(kafka, _topic(kafka)):
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOPIC_POLL_S):
                await stop.wait()
    return False


async def _catch_up(kafka: KafkaSettings, consumer: AIOKafkaConsumer, board: CameraBoard) -> None:
    """Read to where the topic ends now.

    Raises:
        KafkaUnavailableError: the broker does not give us all of it in time.
    """
    try:
        async with asyncio.timeout(_CATCH_UP_S):
            with kafka_errors(kafka):
                for partition, end in (await consumer.end_offsets(list(consumer.assignment()))).items():
                    while await consumer.position(partition) < end:
                        _take(board, (await consumer.getmany(partition, timeout_ms=_POLL_MS)).get(partition, []))
    except TimeoutError:
        raise KafkaUnavailableError(
            f"{_topic(kafka)} could not be read within {_CATCH_UP_S:g} s",
            hint="Check the broker, and that we may read this topic",
        ) from None


async def _next(kafka: KafkaSettings, consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
    with kafka_errors(kafka):
        found = await consumer.getmany(timeout_ms=_POLL_MS)
    return [record for records in found.values() for record in records]
