"""`framematch archive`: stores the events of the topics in MongoDB, and commits their offsets afterwards."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import structlog
from aiokafka import ConsumerRecord

from framematch.archive.entries import Entry, RefusedRecordError, entry_of, place_of
from framematch.archive.indexes import ensure_indexes
from framematch.archive.metrics import ArchiveMetrics
from framematch.archive.refusals import Refusal, report
from framematch.archive.writer import ArchiveWriter
from framematch.catalog.mongo import open_database
from framematch.core.backoff import Backoff
from framematch.core.errors import CatalogError, MongoUnavailableError
from framematch.core.health import Health, new_registry, serve_http
from framematch.core.kafka.clients import new_consumer
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.offsets import Jump
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.lifecycle import raise_if_cancelled
from framematch.core.record_reader import RecordReader, reading
from framematch.core.settings import ArchiveSettings, Settings
from framematch.core.settings_sources import require
from framematch.core.timestamps import now_us
from framematch.core.units import MS_PER_S, US_PER_MS

log = structlog.get_logger()

_BACKOFF_S = (0.5, 15.0)
_CLOSE_ABANDONED_S = 5.0
# A batch is written for as long as MongoDB is away, and the member stays in its group: it fetches nothing meanwhile.
_MAX_POLL_INTERVAL_MS = 86_400_000


async def run_archive(settings: Settings, stop: asyncio.Event) -> None:
    """Store events until `stop` is set; a batch that has begun is finished, if MongoDB takes it.

    Raises:
        UnavailableError: Kafka or MongoDB does not answer at the start, or refuses us.
        CatalogError: MongoDB refuses to create the indexes.
    """
    registry = new_registry()
    metrics, health = ArchiveMetrics(registry), Health("kafka", "mongodb")
    kafka = settings.kafka
    require(kafka.bootstrap_servers, "kafka.bootstrap_servers")
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(open_database(settings))
        await ensure_indexes(database, settings.archive)
        health.set_ready("mongodb")
        await ensure_topics(kafka)
        topics = Topics(kafka.topic_prefix)
        await resources.enter_async_context(serve_http(health, registry, settings.http))
        consumer = _member(settings, metrics)
        reader = RecordReader(
            consumer,
            kafka,
            (topics.matches, topics.sightings, topics.logs),
            start="earliest",
            commits=True,
            on_jump=lambda jump: _count_jump(jump, metrics),
        )
        writer = ArchiveWriter(database, metrics)
        archive = Archive(reader, writer, topics, settings.archive, metrics=metrics, health=health)
        await resources.enter_async_context(reading(reader, consumer, kafka))
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(_close_abandoned(writer)), group.create_task(_measure_lag(consumer, metrics))]
            await archive.run(stop)
            for task in others:
                task.cancel()


class Archive:
    """Reads batches, and stores each for as long as it takes."""

    def __init__(
        self,
        reader: RecordReader,
        writer: ArchiveWriter,
        topics: Topics,
        settings: ArchiveSettings,
        *,
        metrics: ArchiveMetrics,
        health: Health,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._topics = topics
        self._settings = settings
        self._metrics = metrics
        self._health = health

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set.

        Raises:
            KafkaUnavailableError: Kafka does not let us read.
        """
        while not stop.is_set():
            records = await self._gather()
            if self._reader.reachable:
                self._health.set_ready("kafka")
            else:
                self._health.set_not_ready("kafka", "Kafka does not answer")
            if records and not await self._store(self._entries(records), stop):
                log.info("batch_left", events=len(records))  # nothing of it is committed
                return
            self._reader.mark_handled()

    async def _gather(self) -> list[ConsumerRecord]:
        """The next records; the first waits for more for as long as the batch's window."""
        size = self._settings.batch_events
        records = list(await self._reader.read(size))
        closes_s = time.monotonic() + self._settings.batch_window_ms / MS_PER_S
        while records and len(records) < size and (left_s := closes_s - time.monotonic()) > 0:
            records += await self._reader.read(size - len(records), timeout_s=left_s)
        return records

    def _entries(self, records: Sequence[ConsumerRecord]) -> list[Entry]:
        """What is stored of the records; what is none of our events is logged and counted."""
        entries, refused = [], []
        for record in records:
            try:
                entries.append(entry_of(record, self._topics))
            except RefusedRecordError as error:
                refused.append(Refusal(place_of(record), error.reason, str(error)))
        report(refused, self._metrics)
        return entries

    async def _store(self, entries: Sequence[Entry], stop: asyncio.Event) -> bool:
        """Write until MongoDB has taken all; False if `stop` is set while it does not."""
        backoff, is_away = Backoff(*_BACKOFF_S), False
        started_s = time.perf_counter()
        while True:
            try:
                await self._writer.write(entries)
                break
            except (MongoUnavailableError, CatalogError) as error:
                self._metrics.retries.inc()
                self._health.set_not_ready("mongodb", error.message)
                if not is_away:
                    log.warning("archive_waits", error=error.message, hint=error.hint, events=len(entries))
                is_away = True
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), backoff.next_delay_s())
                if stop.is_set():
                    return False
        if is_away:
            log.info("archive_continues", seconds=round(time.perf_counter() - started_s, 1))
        self._health.set_ready("mongodb")
        self._metrics.batch_events.observe(len(entries))
        self._metrics.write_seconds.observe(time.perf_counter() - started_s)
        now_ms = now_us() // US_PER_MS
        for entry in entries:
            self._metrics.delay_seconds.observe(max(0, now_ms - entry.timestamp_ms) / MS_PER_S)
        return True


def _member(settings: Settings, metrics: ArchiveMetrics) -> Consumer:
    return new_consumer(
        settings.kafka,
        group_id=settings.archive.group_id,
        auto_offset_reset="none",  # RecordReader decides, and reports what is lost
        isolation_level="read_committed",
        max_poll_interval_ms=_MAX_POLL_INTERVAL_MS,
        on_unreadable=lambda found: metrics.lost.labels("unreadable").inc(found.stop - found.first),
    )


def _count_jump(jump: Jump, metrics: ArchiveMetrics) -> None:
    metrics.lost.labels(jump.reason).inc(jump.lost)


async def _close_abandoned(writer: ArchiveWriter) -> None:
    while True:
        with suppress(MongoUnavailableError, CatalogError):  # the next batch reports it
            await writer.close_abandoned()
        raise_if_cancelled()
        await asyncio.sleep(_CLOSE_ABANDONED_S)


async def _measure_lag(consumer: Consumer, metrics: ArchiveMetrics) -> None:
    while True:
        lag: dict[str, int] = {}
        for partition, offset in consumer.next_offsets().items():
            behind = max(0, consumer.uncommitted_end(partition) - offset)
            lag[partition.topic] = lag.get(partition.topic, 0) + behind
        metrics.lag.clear()
        for topic, events in lag.items():
            metrics.lag.labels(topic).set(events)
        await asyncio.sleep(1.0)
