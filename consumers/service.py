"""Assembles a consumer: connects to every server, checks that model and index fit, and runs the pipeline."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress

import cv2
import structlog

from consumers.delivery.record_encoder import RecordEncoder
from consumers.frame_consumer import REBALANCE_TIMEOUT_MS
from consumers.metrics import ConsumerMetrics
from consumers.monitoring.gpu import GpuMonitor
from consumers.monitoring.watchdog import Probe, Watchdog
from consumers.pipeline import Components, Pipeline
from consumers.stages.inference import Inference
from consumers.stages.prepare import AgeLimits, Preparer
from consumers.stages.results import ResultBuilder
from framematch.catalog.mongo import Database, connect
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshot import check_compatible
from framematch.catalog.snapshot_storage import open_storage
from framematch.catalog.snapshot_store import load_snapshot
from framematch.core.errors import TritonUnavailableError
from framematch.core.events import ModelInfo
from framematch.core.health import Health, new_registry, serve_http
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.topics import ensure_topics
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.core.tracing import open_tracer
from framematch.matching.enrich import MetadataCache
from framematch.matching.matcher import Matcher
from framematch.matching.served_snapshot import ServedSnapshot
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor

_MODEL_CHECK_S = 2.0
_HEARTBEATS = 3  # in a session, so that two may be late; their answers also say that the group rebalances

log = structlog.get_logger()


async def run_consumer(settings: Settings, stop: asyncio.Event) -> None:
    """Consume frames and publish match events until `stop` is set.

    Raises:
        UnavailableError: Kafka, Triton or MongoDB does not answer at the start.
        CatalogError: there is no index snapshot, or it is damaged.
        ModelMismatchError: the snapshot was built with another model or preprocessing than the one served.
        StalledError: nothing moves though there is work and every server answers.
    """
    cv2.setNumThreads(1)  # the decode threads already use all cores
    registry = new_registry()
    health = Health("kafka", "triton", "output")
    metrics = ConsumerMetrics(registry)
    # A missing address is reported at once, not after a wait for another server.
    require(settings.kafka.bootstrap_servers, "kafka.bootstrap_servers")
    triton_url = require(settings.triton.url, "triton.url")
    mongodb_uri = require(settings.mongodb.uri, "mongodb.uri")
    async with AsyncExitStack() as resources:
        encoder = await _connect_encoder(triton_url, settings, resources)
        mongo = await resources.enter_async_context(
            await connect(mongodb_uri.get_secret_value(), settings.mongodb.timeout_s)
        )
        database = mongo[settings.mongodb.database]
        components = await _components(settings, encoder, database, resources, metrics=metrics, health=health)
        health.set_ready("triton")
        await resources.enter_async_context(serve_http(health, registry, settings.http))
        pipeline = Pipeline(
            components, kafka=settings.kafka, settings=settings.consumer, metrics=metrics, health=health
        )
        gpu = GpuMonitor(
            settings.gpu_interval_s,
            encoder.statistics,
            pipeline.load,
            batch_size=settings.consumer.batch_size,
            registry=registry,
        )
        async with asyncio.TaskGroup() as group:
            monitors = [group.create_task(gpu.run()), group.create_task(_watch_model(encoder))]
            await pipeline.run(stop)
            for task in monitors:
                task.cancel()


async def _watch_model(encoder: ImageEncoder) -> None:
    """Raise ModelMismatchError soon after Triton serves another model than the one the index was built with."""
    while True:
        await asyncio.sleep(_MODEL_CHECK_S)
        with suppress(TritonUnavailableError):  # inference waits for it, and logs that
            await encoder.check()


async def _connect_encoder(url: str, settings: Settings, resources: AsyncExitStack) -> ImageEncoder:
    timeout_s = settings.triton.timeout_s
    encoder = await resources.enter_async_context(
        await ImageEncoder.connect(url, timeout_s=timeout_s, request_timeout_s=timeout_s, key=settings.triton.key)
    )
    if settings.triton.shared_memory:
        await encoder.share_memory(settings.consumer.batches_in_flight)
    return encoder


async def _components(
    settings: Settings,
    encoder: ImageEncoder,
    database: Database,
    resources: AsyncExitStack,
    *,
    metrics: ConsumerMetrics,
    health: Health,
) -> Components:
    """Load the active snapshot, and make the components that the stages work with."""
    own, matching, kafka = settings.consumer, settings.matching, settings.kafka
    storage = open_storage(settings.snapshots.url, database)
    snapshot = await load_snapshot(database, storage, state_dir() / "snapshots")
    check_compatible(snapshot.manifest, encoder.manifest)
    matcher = Matcher(snapshot, k=matching.top_k, match_threshold=matching.threshold, margin_threshold=matching.margin)
    log.info(
        "snapshot_loaded", snapshot=snapshot.manifest.id, rows=snapshot.manifest.rows,
        match_threshold=matcher.thresholds.match, margin_threshold=matcher.thresholds.margin,
    )  # fmt: skip
    metadata = MetadataCache(
        ProductStore(database), max_entries=matching.metadata_entries, ttl_s=matching.metadata_ttl_s
    )
    tracer = resources.enter_context(open_tracer(settings.tracing, "consumer"))
    await ensure_topics(kafka)
    member = new_consumer(
        kafka,
        group_id=own.group_id,
        auto_offset_reset="none",  # FrameConsumer decides, and reports what is lost
        on_unreadable=lambda found: metrics.frames_lost.labels("unreadable").inc(found.stop - found.first),
        isolation_level="read_committed",
        session_timeout_ms=own.session_timeout_ms,
        heartbeat_interval_ms=own.session_timeout_ms // _HEARTBEATS,
        max_poll_interval_ms=own.max_poll_interval_ms,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
    )
    served = ServedSnapshot(
        manifest=snapshot.manifest,
        delta=0,
        model=ModelInfo(encoder.manifest.name, encoder.manifest.digest),
        preprocessor=Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant),
        encoder=encoder,
        matcher=matcher,
    )
    return Components(
        served=lambda: served,
        consumer=await resources.enter_async_context(started(member, kafka)),
        preparer=Preparer(
            AgeLimits.of(own),
            max_pixels=own.max_pixels,
            max_regions=own.max_regions,
            min_content=matching.min_content,
        ),
        decode_threads=resources.enter_context(ThreadPoolExecutor(own.decode_threads, "decode")),
        inference=Inference(
            search_thread=resources.enter_context(ThreadPoolExecutor(1, "search")),
            metrics=metrics,
            health=health,
        ),
        results=ResultBuilder(metadata=metadata, metrics=metrics),
        encoder=RecordEncoder(kafka, group_id=own.group_id, tracer=tracer),
        watchdog=Watchdog(own.stall_timeout_s, health, Probe(kafka, own.group_id).unread),
    )
