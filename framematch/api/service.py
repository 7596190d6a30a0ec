"""Assembles the API: connects to every server, serves the catalogue's active snapshot, and answers requests."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

import cv2
from prometheus_client import CollectorRegistry

from framematch.api.access.control import check_anonymous, running_access
from framematch.api.admission import Admission, AdmissionMetrics
from framematch.api.app import create_app
from framematch.api.cameras.directory import HEALTH_PART as CAMERAS_PART
from framematch.api.cameras.directory import CameraDirectory
from framematch.api.engine.engine import SharedEngine
from framematch.api.engine.text_models import TextModels
from framematch.api.engine.triton_state import HEALTH_PART as TRITON_PART
from framematch.api.engine.triton_state import TritonState
from framematch.api.idempotency import ensure_expiry
from framematch.api.metrics import ApiMetrics
from framematch.api.operations.runner import OperationRunner
from framematch.api.operations.store import OperationStore
from framematch.api.paging import open_page_tokens
from framematch.api.server import serving
from framematch.api.services import Services, Threads
from framematch.api.stream.hub import EventHub
from framematch.catalog.changes.product_changes import ProductChanges
from framematch.catalog.importing.pictures.web.allowed_hosts import AllowedHosts
from framematch.catalog.mongo import Database, open_database
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.names import read_names
from framematch.core.health import Health, new_registry
from framematch.core.paths import state_dir
from framematch.core.settings import ApiSettings, Settings
from framematch.core.settings_sources import require
from framematch.core.units import BYTES_PER_MB
from framematch.matching.enrich import MetadataCache
from framematch.matching.serving.encoder_pool import EncoderPool
from framematch.matching.serving.heartbeat import heartbeat
from framematch.matching.serving.metrics import SnapshotMetrics
from framematch.matching.serving.opener import connect_encoder
from framematch.matching.serving.state import HEALTH_PART as SNAPSHOT_PART
from framematch.matching.serving.state import ServingState
from framematch.matching.serving.watcher import SnapshotWatcher, watched_snapshots

# Of shutdown_deadline_s: the rest is for closing connections.
_DRAIN_SHARE = 0.5


class Closable(Protocol):
    """What is closed at the end."""

    async def close(self) -> None:
        """Close it."""


ClosableT = TypeVar("ClosableT", bound=Closable)
# Of api.request_timeout_s: an answer that takes longer means that too much is in work at once.
_TARGET_SHARE = 0.5


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
    AllowedHosts(settings.api.import_hosts)  # refuses what is no host
    require(settings.kafka.bootstrap_servers, "kafka.bootstrap_servers")
    require(settings.triton.url, "triton.url")
    cv2.setNumThreads(1)  # the decode threads already use all cores
    registry = new_registry()
    metrics = ApiMetrics(registry)
    # Without Kafka, MongoDB or Triton some paths still answer, and the others say why not.
    health = Health(SNAPSHOT_PART, optional=("kafka", "mongodb", TRITON_PART, CAMERAS_PART))
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(open_database(settings))
        health.set_ready("mongodb")
        products, operations = ProductStore(database), OperationStore(database)
        await products.ensure_indexes()
        await operations.ensure_indexes()
        await ensure_expiry(database)
        metadata = MetadataCache(products, settings.matching.metadata_entries, settings.matching.metadata_ttl_s)
        state = ServingState(metadata, SnapshotMetrics(registry, "api"), health)
        watcher = await _open_watcher(settings, database, state, resources)
        await _report_index(database, health)
        threads = Threads.start(settings.api.decode_threads, resources)
        triton = TritonState(lambda: watcher.active, health)
        services = Services(
            settings=settings,
            database=database,
            products=products,
            changes=_product_changes(settings, products, resources),
            operations=operations,
            runner=OperationRunner(operations, settings),
            watcher=watcher,
            metadata=metadata,
            threads=threads,
            triton=triton,
            engine=SharedEngine(
                decode_threads=threads.decode,
                search_thread=threads.search,
                triton=triton,
                batch_size=settings.api.batch_size,
            ),
            texts=_closed_with(resources, TextModels(settings)),
            admission=_admission(settings.api, registry, metrics),
            cameras=_closed_with(resources, CameraDirectory(settings, health)),
            events=EventHub(settings.kafka, settings.api, registry, partial(_report_kafka, health)),
            page_tokens=await open_page_tokens(database),
            access=await resources.enter_async_context(running_access(settings.api, database)),
            health=health,
            registry=registry,
            metrics=metrics,
            stop=stop,
        )
        await resources.enter_async_context(heartbeat(database, watcher, state.changed, service="api"))
        async with _running(services):
            yield services


@asynccontextmanager
async def _running(services: Services) -> AsyncIterator[None]:
    """Run what follows servers beside the requests: names of snapshots, cameras, events, operations."""
    endless = (services.watcher.run(), services.engine.run(), services.events.run(), services.cameras.run())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in endless]
        group.create_task(services.runner.run(services.stop))
        gc.freeze()  # what is here now stays: the garbage collector need not look at it again and again
        yield
        services.stop.set()  # operations are handed back
        for task in tasks:
            task.cancel()


async def _open_watcher(
    settings: Settings, database: Database, listener: ServingState, resources: AsyncExitStack
) -> SnapshotWatcher:
    connect_model = partial(connect_encoder, settings)
    return await resources.enter_async_context(
        watched_snapshots(
            database, settings, state_dir() / "snapshots", connect=connect_model, listener=listener, required=False
        )
    )


async def _report_index(database: Database, health: Health) -> None:
    """Without an index the service is ready: a catalogue can be imported. With one, once that is open."""
    if (await read_names(database)).active is None:
        health.set_ready(SNAPSHOT_PART)
        health.set_note(SNAPSHOT_PART, "the catalogue has no index yet")
    else:
        health.set_not_ready(SNAPSHOT_PART, "it is being opened")


def _product_changes(settings: Settings, products: ProductStore, resources: AsyncExitStack) -> ProductChanges:
    """Changes of products, with encoders of their own: a snapshot that is not served any more may need them."""
    encoders = _closed_with(resources, EncoderPool(partial(connect_encoder, settings)))
    return ProductChanges(products, encoders.get)


def _closed_with(resources: AsyncExitStack, thing: ClosableT) -> ClosableT:
    """`thing`, which is closed when `resources` are."""
    resources.push_async_callback(thing.close)
    return thing


def _admission(settings: ApiSettings, registry: CollectorRegistry, metrics: ApiMetrics) -> Admission:
    return Admission(
        pictures_max=settings.pictures_in_flight_max,
        body_bytes_max=settings.body_mb_in_flight_max * BYTES_PER_MB,
        metrics=AdmissionMetrics(registry, metrics.rejected),
        target_s=settings.request_timeout_s * _TARGET_SHARE,
    )


def _report_kafka(health: Health, reason: str | None) -> None:
    if reason is None:
        health.set_ready("kafka")
    else:
        health.set_not_ready("kafka", reason)
