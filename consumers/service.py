"""Assembles a consumer: connects to every server, checks that model and index fit, and runs the pipeline."""

import asyncio
import gc
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import cv2

from consumers.delivery.record_encoder import RecordEncoder
from consumers.frame_consumer import REBALANCE_TIMEOUT_MS
from consumers.membership import MemberFile, member_file, members_folder, watch_members
from consumers.metrics import ConsumerMetrics
from consumers.monitoring.gpu import GpuMonitor
from consumers.monitoring.watchdog import Probe, Watchdog
from consumers.pipeline import Components, Pipeline
from consumers.shadow.comparisons import Comparisons
from consumers.shadow.queue import ShadowQueue
from consumers.shadow.shadow import Shadow
from consumers.stages.inference import Inference
from consumers.stages.prepare import AgeLimits, Preparer
from consumers.stages.results import ResultBuilder
from framematch.catalog.mongo import Database, open_database
from framematch.catalog.products import ProductStore
from framematch.core.errors import TritonUnavailableError
from framematch.core.health import Health, new_registry, serve_http
from framematch.core.kafka.clients import new_consumer, started
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.topics import ensure_topics
from framematch.core.lifecycle import beside
from framematch.core.paths import state_dir
from framematch.core.settings import ConsumerSettings, MatchingSettings, Settings
from framematch.core.settings_sources import require
from framematch.core.tracing import open_tracer
from framematch.matching.enrich import MetadataCache
from framematch.matching.gate import PictureGate
from framematch.matching.serving.heartbeat import heartbeat
from framematch.matching.serving.opener import connect_encoder
from framematch.matching.serving.state import HEALTH_PART, ServingState
from framematch.matching.serving.watcher import SnapshotWatcher, watched_snapshots
from framematch.vision.encoder import ImageEncoder
from framematch.vision.jpeg_encoder import JpegEncoder
from framematch.vision.triton_statistics import ModelStatistics

_MODEL_CHECK_S = 2.0
# The shadow decides so many batches of the active snapshot at once, if they come in that time. Over 20,000 x 80 a
# search takes 0.33 ms of CPU time a region with 4 or 16 regions, and 0.10 ms with 64.
_SHADOW_BATCHES = 4
_SHADOW_GATHER_S = 0.5
_GC_THRESHOLD = 20_000  # objects; frames and events are freed without the collector
# Of one response, which is in memory three times while it is decoded. 2 MB saved no memory that could be measured.
_PARTITION_FETCH_BYTES, _FETCH_BYTES = 1_048_576, 4_194_304
_HEARTBEATS = 3  # at least, in a session, so that two may be late
_HEARTBEAT_MS = 1_000  # at most: their answers also say that the group rebalances


async def run_consumer(settings: Settings, stop: asyncio.Event) -> None:
    """Consume frames and publish match events until `stop` is set.

    Raises:
        UnavailableError: Kafka, Triton or MongoDB does not answer at the start.
        CatalogError: there is no index snapshot, or it is damaged.
        ModelError: Triton does not serve the model of the snapshot, or not any more.
        StalledError: nothing moves though there is work and every server answers.
    """
    cv2.setNumThreads(1)  # the decode threads already use all cores
    registry = new_registry()
    health = Health("kafka", "triton", HEALTH_PART, "output")
    metrics = ConsumerMetrics(registry)
    # A missing address is reported at once, not after a wait for another server.
    require(settings.kafka.bootstrap_servers, "kafka.bootstrap_servers")
    require(settings.triton.url, "triton.url")
    own = settings.consumer
    members = members_folder(state_dir(), settings.kafka, own.group_id)
    async with AsyncExitStack() as resources:
        # First, as the process before this one may have been killed, and its partitions wait.
        watching = await resources.enter_async_context(beside(watch_members(members, settings.kafka, own.group_id)))
        topics = await resources.enter_async_context(beside(ensure_topics(settings.kafka)))
        database = await resources.enter_async_context(open_database(settings))
        metadata = _metadata_cache(database, settings.matching)
        serving = ServingState(metadata, metrics.snapshots, health)
        watcher = await resources.enter_async_context(
            watched_snapshots(
                database,
                settings,
                state_dir() / "snapshots",
                connect=partial(_connect_encoder, settings),
                listener=serving,
            )
        )
        health.set_ready("triton")
        shadow = _shadow(own, watcher, database, resources, metrics)
        await topics
        member = resources.enter_context(member_file(members))
        components = await _components(
            settings, watcher, metadata, shadow.queue, resources, member=member, metrics=metrics, health=health
        )
        await resources.enter_async_context(serve_http(health, registry, settings.http))
        pipeline = Pipeline(components, kafka=settings.kafka, settings=own, metrics=metrics, health=health)
        gpu = GpuMonitor(
            settings.gpu_interval_s,
            partial(_model_statistics, watcher),
            pipeline.load,
            batch_size=own.batch_size,
            registry=registry,
        )
        telling = heartbeat(
            database, watcher, serving.changed, service="consumer", stale_cameras=pipeline.stale_cameras
        )
        _spare_the_garbage_collector()
        async with telling:
            parts = (watcher.run(), shadow.run(), gpu.run(), _check_model(watcher), _finished(watching))
            await _run_beside(parts, pipeline.run(stop))


async def _run_beside(parts: Iterable[Coroutine[Any, Any, None]], pipeline: Coroutine[Any, Any, None]) -> None:
    """Run `pipeline` to its end, and the endless `parts` beside it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        await pipeline
        for task in tasks:
            task.cancel()


def _spare_the_garbage_collector() -> None:
    """What is here now stays, so it need not be looked at again; and what comes is looked at less often."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


async def _finished(task: asyncio.Task[None]) -> None:
    await task


async def _check_model(watcher: SnapshotWatcher) -> None:
    """Raise ModelError soon after Triton does not serve the model of the current snapshot any more."""
    while True:
        await asyncio.sleep(_MODEL_CHECK_S)
        served = watcher.current  # its model stays connected as long as this refers to it
        with suppress(TritonUnavailableError):  # inference waits for it, and logs that
            await served.encoder.check()
        del served


async def _model_statistics(watcher: SnapshotWatcher) -> ModelStatistics:
    served = watcher.current
    return await served.encoder.statistics()


async def _connect_encoder(settings: Settings, model_digest: str) -> ImageEncoder:
    encoder = await connect_encoder(settings, model_digest, JpegEncoder if _triton_decodes(settings) else ImageEncoder)
    if settings.triton.shared_memory:
        await encoder.share_memory(settings.consumer.batches_in_flight)
    return encoder


def _triton_decodes(settings: Settings) -> bool:
    return settings.consumer.decode == "server"


def _metadata_cache(database: Database, settings: MatchingSettings) -> MetadataCache:
    store = ProductStore(database)
    return MetadataCache(store, max_entries=settings.metadata_entries, ttl_s=settings.metadata_ttl_s)


def _shadow(
    settings: ConsumerSettings,
    watcher: SnapshotWatcher,
    database: Database,
    resources: AsyncExitStack,
    metrics: ConsumerMetrics,
) -> Shadow:
    comparisons = Comparisons()
    queue = ShadowQueue(
        lambda: watcher.shadow,
        lambda: watcher.names.shadow_sample,
        batch_size=_SHADOW_BATCHES * settings.batch_size,
        gather_s=_SHADOW_GATHER_S,
        comparisons=comparisons,
        metrics=metrics,
    )
    return Shadow(
        queue,
        thread=resources.enter_context(ThreadPoolExecutor(1, "shadow")),
        comparisons=comparisons,
        database=database,
        metrics=metrics,
        max_pixels=settings.max_pixels,
    )


async def _components(
    settings: Settings,
    watcher: SnapshotWatcher,
    metadata: MetadataCache,
    shadow: ShadowQueue,
    resources: AsyncExitStack,
    *,
    member: MemberFile,
    metrics: ConsumerMetrics,
    health: Health,
) -> Components:
    """Join the group, and make the components that the stages work with."""
    own, kafka = settings.consumer, settings.kafka
    gate, triton_decodes = PictureGate.of(settings.matching), _triton_decodes(settings)
    tracer = resources.enter_context(open_tracer(settings.tracing, "consumer"))
    return Components(
        consumer=await resources.enter_async_context(started(_group_member(settings, member, metrics), kafka)),
        served=lambda: watcher.current,
        preparer=Preparer(
            AgeLimits.of(own),
            max_pixels=own.max_pixels,
            max_regions=own.max_regions,
            gate=None if triton_decodes else gate,
        ),
        decode_threads=None
        if triton_decodes
        else resources.enter_context(ThreadPoolExecutor(own.decode_threads, "decode")),
        inference=Inference(
            search_thread=resources.enter_context(ThreadPoolExecutor(1, "search")),
            metrics=metrics,
            health=health,
            shadow=shadow,
            gate=gate if triton_decodes else None,
        ),
        results=ResultBuilder(metadata=metadata, metrics=metrics),
        encoder=RecordEncoder(kafka, group_id=own.group_id, tracer=tracer),
        watchdog=Watchdog(own.stall_timeout_s, health, Probe(kafka, own.group_id).unread),
    )


def _group_member(settings: Settings, member: MemberFile, metrics: ConsumerMetrics) -> Consumer:
    own = settings.consumer
    return new_consumer(
        settings.kafka,
        group_id=own.group_id,
        auto_offset_reset="none",  # FrameConsumer decides, and reports what is lost
        on_unreadable=lambda found: metrics.frames_lost.labels("unreadable").inc(found.stop - found.first),
        on_member=member.write,
        isolation_level="read_committed",
        max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
        fetch_max_bytes=_FETCH_BYTES,
        session_timeout_ms=own.session_timeout_ms,
        heartbeat_interval_ms=min(own.session_timeout_ms // _HEARTBEATS, _HEARTBEAT_MS),
        max_poll_interval_ms=own.max_poll_interval_ms,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
    )
