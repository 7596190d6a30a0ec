"""`framematch calibration collect`: keeps pictures of decided regions until a person has labelled them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress

import structlog
from aiokafka import TopicPartition

from framematch.catalog.mongo import open_database
from framematch.core.backoff import Backoff
from framematch.core.errors import CatalogError, FramematchError, KafkaUnavailableError, MongoUnavailableError
from framematch.core.health import Health, new_registry, serve_http
from framematch.core.kafka.clients import kafka_errors, new_consumer, started
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.record_finder import RecordFinder
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.record_reader import RecordReader, reading
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.review.collector import Chosen, Collector
from framematch.review.metrics import ReviewMetrics
from framematch.review.store import ReviewStore

log = structlog.get_logger()

_BACKOFF_S = (0.5, 15.0)
_BATCH_EVENTS = 1_000
_TRIM_INTERVAL_S = 10.0
_MAX_POLL_INTERVAL_MS = 86_400_000  # a batch is kept for as long as MongoDB is away


async def run_collect(settings: Settings, stop: asyncio.Event, *, once: bool = False) -> None:
    """Keep pictures until `stop` is set; with `once` until everything that Kafka has now was looked at.

    Without a commit of the group it begins with new events, with `once` at the oldest ones.

    Raises:
        UnavailableError: Kafka or MongoDB does not answer at the start, or refuses us.
        CatalogError: MongoDB refuses to create the indexes.
    """
    registry = new_registry()
    metrics, health = ReviewMetrics(registry), Health("kafka", "mongodb")
    kafka = settings.kafka
    require(kafka.bootstrap_servers, "kafka.bootstrap_servers")
    async with AsyncExitStack() as resources:
        store = ReviewStore(await resources.enter_async_context(open_database(settings)))
        await store.prepare(settings.review)
        health.set_ready("mongodb")
        await ensure_topics(kafka)
        topics = Topics(kafka.topic_prefix)
        await resources.enter_async_context(serve_http(health, registry, settings.http))
        frames = await resources.enter_async_context(started(_frames_consumer(settings), kafka))
        member = _member(settings, metrics)
        reader = RecordReader(
            member,
            kafka,
            (topics.matches,),
            start="earliest" if once else "latest",
            commits=True,
            on_jump=lambda jump: metrics.lost.labels(jump.reason).inc(jump.lost),
        )
        collector = Collector(
            store,
            RecordFinder(frames, topics.frames, kafka),
            settings.review,
            max_pixels=settings.consumer.max_pixels,
            metrics=metrics,
        )
        await resources.enter_async_context(reading(reader, member, kafka))
        loop = _Loop(reader, collector, store, settings, metrics=metrics, health=health)
        await loop.run(stop, member, once=once)


class _Loop:
    """Reads batches, and keeps what was chosen of each before it goes on."""

    def __init__(
        self,
        reader: RecordReader,
        collector: Collector,
        store: ReviewStore,
        settings: Settings,
        *,
        metrics: ReviewMetrics,
        health: Health,
    ) -> None:
        self._reader = reader
        self._collector = collector
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._trim_at_s = 0.0
        self._partitions: frozenset[TopicPartition] = frozenset()

    async def run(self, stop: asyncio.Event, member: Consumer, *, once: bool) -> None:
        """Until `stop` is set, or with `once` everything up to the present end was looked at."""
        ends = None
        if once:
            with kafka_errors(self._settings.kafka):
                ends = await member.end_offsets(member.assignment())
        while not stop.is_set() and (ends is None or _is_before(member, ends)):
            records = await self._reader.read(_BATCH_EVENTS)
            if (partitions := frozenset(member.assignment())) != self._partitions:
                self._partitions = partitions
                self._collector.forget()
            if self._reader.reachable:
                self._health.set_ready("kafka")
            else:
                self._health.set_not_ready("kafka", "Kafka does not answer")
            regions, chosen = self._collector.regions(records), Chosen()
            done = await self._until_done(lambda: self._collector.choose(regions, chosen), stop)  # noqa: B023  # at once
            if not done or not await self._until_done(lambda: self._collector.keep(chosen), stop):  # noqa: B023  # at once
                log.info("batch_left", events=len(records))  # nothing of it is committed
                return
            self._reader.mark_handled()
            offsets = member.next_offsets().items()
            self._metrics.lag.set(sum(max(0, member.uncommitted_end(one) - offset) for one, offset in offsets))
            if once or time.monotonic() >= self._trim_at_s:
                await self._until_done(self._trim, stop)

    async def _trim(self) -> None:
        expired = await self._store.trim(self._settings.review.max_pictures)
        self._metrics.pictures.labels("expired").inc(expired)
        self._trim_at_s = time.monotonic() + _TRIM_INTERVAL_S

    async def _until_done(self, step: Callable[[], Awaitable[None]], stop: asyncio.Event) -> bool:
        """Take the step again for as long as a server is away; False if `stop` is set while it is."""
        backoff, is_away = Backoff(*_BACKOFF_S), False
        while True:
            try:
                await step()
                break
            except (KafkaUnavailableError, MongoUnavailableError, CatalogError) as error:
                self._health.set_not_ready(_part(error), error.message)
                if not is_away:
                    log.warning("review_waits", error=error.message, hint=error.hint)
                is_away = True
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), backoff.next_delay_s())
                if stop.is_set():
                    return False
        for part in ("kafka", "mongodb") if is_away else ():
            self._health.set_ready(part)
        return True


def _part(error: FramematchError) -> str:
    return "kafka" if isinstance(error, KafkaUnavailableError) else "mongodb"


def _is_before(member: Consumer, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether something of ours before these ends was not read; what the group has given to others is theirs."""
    return any(offset < ends.get(partition, 0) for partition, offset in member.next_offsets().items())


def _frames_consumer(settings: Settings) -> Consumer:
    return new_consumer(settings.kafka, auto_offset_reset="none", isolation_level="read_committed")


def _member(settings: Settings, metrics: ReviewMetrics) -> Consumer:
    return new_consumer(
        settings.kafka,
        group_id=settings.review.group_id,
        auto_offset_reset="none",  # RecordReader decides, and reports what is lost
        isolation_level="read_committed",
        max_poll_interval_ms=_MAX_POLL_INTERVAL_MS,
        on_unreadable=lambda found: metrics.lost.labels("unreadable").inc(found.stop - found.first),
    )
