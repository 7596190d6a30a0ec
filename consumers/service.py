"""Puts a consumer together: connects to everything it needs, checks that it fits, and runs the pipeline."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress

import structlog

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
    async with AsyncExitStack() as resources:
        encoder, matcher, preprocessor, store = await _connect(settings, resources)
        health.set_ready("triton")
        await ensure_topics(settings.kafka)
        producer = await resources.enter_async_context(started(new_producer(settings.kafka), settings.kafka))
        consumer = await resources.enter_async_context(
            started(
                new_consumer(
                    settings.kafka, group_id=settings.consumer.group_id, auto_offset_reset=settings.consumer.start_at
                ),
                settings.kafka,
            )
        )
        await resources.enter_async_context(serve_http(health, registry, settings.http))
        threads = resources.enter_context(ThreadPoolExecutor(settings.consumer.decode_threads, "decode"))
        answerer = Answerer(
            encoder=encoder,
            preprocessor=preprocessor,
            matcher=matcher,
            metadata=MetadataCache(
                store, max_entries=settings.matching.metadata_entries, ttl_s=settings.matching.metadata_ttl_s
            ),
            threads=threads,
            metrics=metrics,
            max_pixels=settings.consumer.max_pixels,
            max_age_s=settings.consumer.max_age_s,
        )
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


async def _connect(
    settings: Settings, resources: AsyncExitStack
) -> tuple[ImageEncoder, Matcher, Preprocessor, ProductStore]:
    """The served model, the active snapshot and the preprocessing that it was built with."""
    uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    url = require(settings.triton.url, "triton.url")
    require(settings.kafka.bootstrap_servers, "kafka.bootstrap_servers")
    mongo = await resources.enter_async_context(await connect(uri, settings.mongodb.timeout_s))
    database = mongo[settings.mongodb.database]
    snapshot = await load_snapshot(database, state_dir() / "snapshots")
    encoder = await resources.enter_async_context(
        await ImageEncoder.connect(
            url, timeout_s=settings.triton.timeout_s, request_timeout_s=settings.triton.timeout_s
        )
    )
    check_compatible(snapshot.manifest, encoder.manifest)
    matching = settings.matching
    matcher = Matcher(snapshot, k=matching.top_k, match_threshold=matching.threshold, margin_threshold=matching.margin)
    preprocessor = Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant)
    log.info("snapshot_loaded", snapshot=snapshot.manifest.id, rows=snapshot.manifest.rows)
    return encoder, matcher, preprocessor, ProductStore(database)
