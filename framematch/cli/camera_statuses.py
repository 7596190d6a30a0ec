"""Reads the status of all cameras, and shows it as a live table or as JSON."""

import asyncio
from collections.abc import Iterable

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from rich.live import Live

from framematch.cli.camera_table import CameraTable, Entry
from framematch.cli.console import SafeConsole, new_console
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.offsets import offset_ranges
from framematch.core.kafka.reading import read_to_end
from framematch.core.kafka.topics import Topics, topic_exists, wait_for_topic
from framematch.core.lifecycle import first_of, run_service
from framematch.core.settings import KafkaSettings, Settings
from framematch.core.timestamps import now_us

log = structlog.get_logger()

_POLL_MS = 500


def show_cameras(settings: Settings, camera: str | None, *, as_json: bool, once: bool) -> None:
    """Show the status of one camera or of all, until Ctrl-C or `once`."""
    console = new_console()
    once = once or not (console.is_terminal or as_json)
    table = CameraTable(settings.edge.status_interval_s, camera)

    async def main(stop: asyncio.Event) -> None:
        if once:
            await read_statuses(settings.kafka, table)
            _print(console, table, as_json=as_json)
        else:
            show = _stream if as_json else _show
            await first_of(stop.wait(), show(settings.kafka, table, console))

    run_service(main, shutdown_deadline_s=5.0)


async def read_statuses(kafka: KafkaSettings, table: CameraTable) -> None:
    """Add every status that is in the topic now; none when the topic does not exist yet.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
    """
    if await topic_exists(kafka, _topic(kafka)):
        async with started(_consumer(kafka), kafka) as consumer:
            await _catch_up(kafka, consumer, table)


async def _show(kafka: KafkaSettings, table: CameraTable, console: SafeConsole) -> None:
    """Redraw the table twice a second, as ages grow even without new statuses."""
    with Live(console=console, auto_refresh=False) as live:
        live.update(f"waiting for the topic {_topic(kafka)}: an edge creates it when it starts", refresh=True)
        await wait_for_topic(kafka, _topic(kafka))
        async with started(_consumer(kafka), kafka) as consumer:
            await _catch_up(kafka, consumer, table)
            while True:
                live.update(table.view(now_us()), refresh=True)
                _update(table, await _next(kafka, consumer))


async def _stream(kafka: KafkaSettings, table: CameraTable, console: SafeConsole) -> None:
    """Print the latest status of each camera, then every new one."""
    await wait_for_topic(kafka, _topic(kafka))
    async with started(_consumer(kafka), kafka) as consumer:
        await _catch_up(kafka, consumer, table)
        _print(console, table, as_json=True)
        while True:
            for entry in _update(table, await _next(kafka, consumer)):
                console.out_json(entry.value)


def _print(console: SafeConsole, table: CameraTable, *, as_json: bool) -> None:
    if not as_json:
        console.print(table.view(now_us()))
        return
    for entry in table.entries(now_us()):
        console.out_json(entry.value)


def _update(table: CameraTable, records: Iterable[ConsumerRecord]) -> list[Entry]:
    entries = []
    for record in records:
        try:
            entry = table.update(record.key, record.value)
        except msgspec.DecodeError as error:
            log.warning("status_unreadable", offset=record.offset, error=str(error))
        else:
            entries += [entry] if entry else []
    return entries


def _topic(kafka: KafkaSettings) -> str:
    return Topics(kafka.topic_prefix).status


def _consumer(kafka: KafkaSettings) -> AIOKafkaConsumer:
    # Without a group, all partitions are assigned at once.
    return new_consumer(kafka, _topic(kafka), auto_offset_reset="earliest")


async def _catch_up(kafka: KafkaSettings, consumer: AIOKafkaConsumer, table: CameraTable) -> None:
    with kafka_errors(kafka):
        async for record in read_to_end(consumer, await offset_ranges(consumer, consumer.assignment())):
            _update(table, [record])


async def _next(kafka: KafkaSettings, consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
    with kafka_errors(kafka):
        found = await consumer.getmany(timeout_ms=_POLL_MS)
    return [record for records in found.values() for record in records]
