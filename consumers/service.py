"""Puts a consumer together: connects to everything it needs, checks that it fits, and runs the pipeline."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from consumers.answers import Answerer
from consumers.metrics import ConsumerMetrics
from consumers.pipeline import Pipeline
from framematch.catalog.mongo import connect
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshot import check_compatible
from framematch.catalog.snapshot_store import load_snapshot
from framematch.core.errors import TritonUnavailableError
from framematch.core.gpu import GpuSampler
from framematch.core.health import Health, serve_http
from framematch.core.kafka import new_consumer, new_producer, started
from framematch.core.metrics import new_registry
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.core.topics import ensure_topics
from framematch.matching.enrich import MetadataCache
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor

_MODEL_CHECK_S = 2.0

log = structlog.get_logger()


async def run_consumer(settings: Settings, stop: asyncio.Event) -> None:
    """Consume frames and publish match events until `stop` is set.

    Raises:
        UnavailableError: Kafka, Triton or MongoDB does not answer at the start.
        CatalogError: there is no index snapshot, or it is damaged.
        ModelMismatchError: the snapshot was built with another model or preprocessing than the one served.
    """
    registry = new_registry()
    health = Health("kafka", "triton")
    metrics = ConsumerMetrics(registry)
    require(settings.kafka.bootstrap_servers, "kafka.bootstrap_servers")
    async with AsyncExitStack() as resources:
        encoder, answerer = await _answerer(settings, metrics, resources)
        health.set_ready("triton")
        consumer, producer = await _kafka_clients(settings, resources)
        await resources.enter_async_context(serve_http(health, registry, settings.http))
        pipeline = Pipeline(
            consumer=consumer,
            producer=producer,
            answerer=answerer,
            kafka=settings.kafka,
            settings=settings.consumer,
            metrics=metrics,
            health=health,
        )
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(GpuSampler(settings.gpu_interval_s, registry).run()),
                group.create_task(_watch_model(encoder)),
            ]
            await pipeline.run(stop)
            for task in beside:
                task.cancel()


async def _watch_model(encoder: ImageEncoder) -> None:
    """Raise ModelMismatchError soon after Triton serves another model than the one that the index was built with."""
    while True:
        await asyncio.sleep(_MODEL_CHECK_S)
        with suppress(TritonUnavailableError):  # the batches wait for it, and say so
            await encoder.check()


async def _answerer(
    settings: Settings, metrics: ConsumerMetrics, resources: AsyncExitStack
) -> tuple[ImageEncoder, Answerer]:
    """The served model, and what answers batches with it and the active snapshot."""
    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    url = require(settings.triton.url, "triton.url")
    mongo = await resources.enter_async_context(await connect(uri, settings.mongodb.timeout_s))
    database = mongo[settings.mongodb.database]
    snapshot = await load_snapshot(database, state_dir() / "snapshots")
    timeout_s = settings.triton.timeout_s
    encoder = await resources.enter_async_context(
        await ImageEncoder.connect(url, timeout_s=timeout_s, request_timeout_s=timeout_s)
    )
    check_compatible(snapshot.manifest, encoder.manifest)
    log.info("snapshot_loaded", snapshot=snapshot.manifest.id, rows=snapshot.manifest.rows)
    matching = settings.matching
    return encoder, Answerer(
        encoder=encoder,
        preprocessor=Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant),
        matcher=Matcher(
            snapshot, k=matching.top_k, match_threshold=matching.threshold, margin_threshold=matching.margin
        ),
        metadata=MetadataCache(
            ProductStore(database), max_entries=matching.metadata_entries, ttl_s=matching.metadata_ttl_s
        ),
        decode_threads=resources.enter_context(ThreadPoolExecutor(settings.consumer.decode_threads, "decode")),
        search_thread=resources.enter_context(ThreadPoolExecutor(1, "search")),
        metrics=metrics,
        max_pixels=settings.consumer.max_pixels,
        max_age_s=settings.consumer.max_age_s,
    )


async def _kafka_clients(settings: Settings, resources: AsyncExitStack) -> tuple[AIOKafkaConsumer, AIOKafkaProducer]:
    """A member of the consumer group, and the producer of its output."""
    kafka, own = settings.kafka, settings.consumer
    await ensure_topics(kafka)
    producer = await resources.enter_async_context(started(new_producer(kafka), kafka))
    member = new_consumer(kafka, group_id=own.group_id, auto_offset_reset=own.start_at)
    return await resources.enter_async_context(started(member, kafka)), producer
