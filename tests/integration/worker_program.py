"""Several workers without models or a catalogue: `python -m tests.integration.worker_program WORK`."""

import asyncio
import sys

from prometheus_client import CollectorRegistry, Gauge

from consumers.workers.supervisor import LAST_WORDS_S, run_workers
from framematch.core.errors import CatalogError, FramematchError, SettingsError
from framematch.core.health import Health, serve_http
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.lifecycle import run_service
from framematch.core.logging import configure_logging
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def serves(settings: Settings, stop: asyncio.Event) -> None:
    """Is ready until `stop` is set."""
    async with serve_http(Health(), CollectorRegistry(), settings.http):
        await stop.wait()
        _say("finished")


async def consumes(settings: Settings, stop: asyncio.Event) -> None:
    """Is a member of the group, ready when it has partitions."""
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
    """Finds out that the settings are wrong."""
    raise SettingsError("this cannot be", hint="Set it right")


async def fails_at_the_end(_settings: Settings, stop: asyncio.Event) -> None:
    """Fails while it stops."""
    _say("started")
    await stop.wait()
    raise CatalogError("not done", hint="Do it")


WORKS = {work.__name__: work for work in (serves, consumes, refuses, fails_at_the_end)}


def main() -> None:
    """As the command does it."""
    settings = load_settings()
    configure_logging(settings.log.level, settings.log.format, service="consumer")
    work, deadline_s = WORKS[sys.argv[1]], settings.shutdown_deadline_s + LAST_WORDS_S
    try:
        run_service(lambda stop: run_workers(settings, stop, work), shutdown_deadline_s=deadline_s)
    except FramematchError as error:
        _say(f"framematch: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
