"""Assembles the API: connects to every server, serves the catalogue's active snapshot, and answers requests."""

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import cv2

from framematch.api.access.control import check_anonymous, running_access
from framematch.api.admission import Admission, AdmissionMetrics
from framematch.api.app import create_app
from framematch.api.engine.engine import SharedEngine
from framematch.api.engine.text_models import TextModels
from framematch.api.engine.triton_state import HEALTH_PART as TRITON_PART
from framematch.api.engine.triton_state import TritonState
from framematch.api.metrics import ApiMetrics
from framematch.api.operations.runner import OperationRunner
from framematch.api.operations.store import OperationStore
from framematch.api.paging import open_page_tokens
from framematch.api.server import serving
from framematch.api.services import Services
from framematch.api.stream.hub import EventHub
from framematch.catalog.changes.product_changes import ProductChanges
from framematch.catalog.mongo import connect
from framematch.catalog.products import ProductStore
from framematch.core.health import Health, new_registry
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import require
from framematch.core.units import BYTES_PER_MB
from framematch.matching.enrich import MetadataCache
from framematch.matching.serving.encoder_pool import EncoderPool
from framematch.matching.serving.heartbeat import heartbeat
from framematch.matching.serving.metrics import SnapshotMetrics
from framematch.matching.serving.opener import connect_encoder
from framematch.matching.serving.state import HEALTH_PART, ServingState
from framematch.matching.serving.watcher import watched_snapshots

# Of shutdown_deadline_s: the rest is for closing connections.
_DRAIN_SHARE = 0.5


async def run_api(settings: Settings, stop: asyncio.Event) -> None:
    """Answer requests until `stop` is set, and then those that have begun.

    Without an index it starts too, so that a catalogue can be imported.

    Raises:
        SettingsError: an address is not set, or the port is in use.
        UnavailableError: MongoDB does not answer at the start.
    """
    drain_s = settings.shutdown_deadline_s * _DRAIN_SHARE
    async with (
        running_services(settings, stop) as services,
        serving(create_app(services), settings.api, drain_s=drain_s),
    ):
        await stop.wait()


@asynccontextmanager
async def running_services(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Services]:
    """Everything that the routes work with, connected and running inside the context."""
    check_anonymous(settings.api)
    require(settings.kafka.bootstrap_servers, "kafka.bootstrap_servers")
    require(settings.triton.url, "triton.url")
    mongodb_uri = require(settings.mongodb.uri, "mongodb.uri")
    cv2.setNumThreads(1)  # the decode threads already use all cores
    registry = new_registry()
    health = Health("kafka", "mongodb", HEALTH_PART, TRITON_PART)
    async with AsyncExitStack() as resources:
        mongo = await resources.enter_async_context(
            await connect(mongodb_uri.get_secret_value(), settings.mongodb.timeout_s)
        )
        database = mongo[settings.mongodb.database]
        health.set_ready("mongodb")
        health.set_not_ready(HEALTH_PART, "the catalogue has no index yet")
        products = ProductStore(database)
        await products.ensure_indexes()
        operations = OperationStore(database)
        await operations.ensure_indexes()
        metadata = MetadataCache(products, settings.matching.metadata_entries, settings.matching.metadata_ttl_s)
        serving_state = ServingState(metadata, SnapshotMetrics(registry, "api"), health)
        open_encoder = partial(connect_encoder, settings)
        watcher = await resources.enter_async_context(
            watched_snapshots(
                database, settings, state_dir() / "snapshots", connect=open_encoder, listener=serving_state,
                required=False,
            )
        )  # fmt: skip
        encoders = EncoderPool(open_encoder)
        hub = EventHub(settings.kafka, settings.api, registry, partial(_report_kafka, health))
        resources.push_async_callback(encoders.close)
        api = settings.api
        decode_threads = resources.enter_context(ThreadPoolExecutor(api.decode_threads, "decode"))
        search_thread = resources.enter_context(ThreadPoolExecutor(1, "search"))
        triton = TritonState(lambda: watcher.active, health)
        texts, metrics = TextModels(settings), ApiMetrics(registry)
        resources.push_async_callback(texts.close)
        services = Services(
            settings=settings,
            database=database,
            products=products,
            changes=ProductChanges(products, encoders.get),
            operations=operations,
            runner=OperationRunner(operations, settings),
            watcher=watcher,
            metadata=metadata,
            decode_threads=decode_threads,
            search_thread=search_thread,
            triton=triton,
            engine=SharedEngine(
                decode_threads=decode_threads, search_thread=search_thread, triton=triton, batch_size=api.batch_size
            ),
            texts=texts,
            admission=Admission(
                pictures_max=api.pictures_in_flight_max,
                body_bytes_max=api.body_mb_in_flight_max * BYTES_PER_MB,
                metrics=AdmissionMetrics(registry, metrics.rejected),
            ),
            page_tokens=await open_page_tokens(database),
            access=await resources.enter_async_context(running_access(settings.api, database)),
            health=health,
            registry=registry,
            metrics=metrics,
            events=hub,
            stop=stop,
        )
        await resources.enter_async_context(heartbeat(database, watcher, serving_state.changed, service="api"))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in (watcher.run(), services.engine.run(), hub.run())]
            group.create_task(services.runner.run(stop))
            gc.freeze()  # what is here now stays: the garbage collector need not look at it again and again
            yield services
            stop.set()  # operations are handed back
            for task in tasks:
                task.cancel()


def _report_kafka(health: Health, reason: str | None) -> None:
    if reason is None:
        health.set_ready("kafka")
    else:
        health.set_not_ready("kafka", reason)
