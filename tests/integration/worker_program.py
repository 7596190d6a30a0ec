"""Workers without models or a catalogue: `python -m tests.integration.worker_program SERVICE`."""

import asyncio
import ctypes
import os
import sys

import structlog
from prometheus_client import CollectorRegistry, Gauge

from consumers.workers.supervisor import EXIT_REPORT_S, run_workers
from framematch.core.errors import CatalogError, FramematchError, SettingsError
from framematch.core.health import Health, serve_http
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.lifecycle import run_service
from framematch.core.logging import configure_logging
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings
from framematch.core.stderr import json_stderr

_IN_FLIGHT_S = 0.5


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def serves(settings: Settings, stop: asyncio.Event) -> None:
    """Is ready until it is stopped."""
    async with serve_http(Health(), CollectorRegistry(), settings.http):
        await stop.wait()
        _print("finished")


async def finishes_late(settings: Settings, stop: asyncio.Event) -> None:
    """Has something in flight when it is stopped."""
    async with serve_http(Health(), CollectorRegistry(), settings.http):
        await stop.wait()
        await asyncio.sleep(_IN_FLIGHT_S)
        _print("finished")


async def consumes(settings: Settings, stop: asyncio.Event) -> None:
    """Joins the group, and is ready when it has partitions."""
    registry, health = CollectorRegistry(), Health("kafka")
    assigned = Gauge("assigned", "Partitions", registry=registry)
    await ensure_topics(settings.kafka)
    topic, group = Topics(settings.kafka.topic_prefix).frames, settings.consumer.group_id
    consumer = new_consumer(settings.kafka, topic, group_id=group, heartbeat_interval_ms=100)
    async with started(consumer, settings.kafka), serve_http(health, registry, settings.http):
        health.set_ready("kafka")
        while not stop.is_set():
            await consumer.getmany(timeout_ms=50)
            assigned.set(len(consumer.assignment()))


async def refuses(_settings: Settings, _stop: asyncio.Event) -> None:
    """Fails because the settings are wrong."""
    raise SettingsError("this cannot be", hint="Set it right")


async def fails_at_shutdown(_settings: Settings, stop: asyncio.Event) -> None:
    """Fails while it shuts down."""
    _print("started")
    await stop.wait()
    raise CatalogError("not done", hint="Do it")


async def crashes(settings: Settings, stop: asyncio.Event) -> None:
    """Worker 1 crashes in C code, once it has written to stderr what is no log line."""
    if structlog.contextvars.get_contextvars()["worker"] == "1":
        os.write(2, b"raw words of a library\n")
        ctypes.string_at(0)
    await serves(settings, stop)


SERVICES = {
    service.__name__: service for service in (serves, finishes_late, consumes, refuses, fails_at_shutdown, crashes)
}


def main() -> None:
    """Run the service in workers, as `framematch consume --workers` does."""
    settings = load_settings()
    configure_logging(settings.log.level, settings.log.format, service="consumer")
    service, deadline_s = SERVICES[sys.argv[1]], settings.shutdown_deadline_s + EXIT_REPORT_S
    try:
        with json_stderr():
            run_service(lambda stop: run_workers(settings, stop, service), shutdown_deadline_s=deadline_s)
    except FramematchError as error:
        _print(f"framematch: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
