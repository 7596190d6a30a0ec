"""What the routes work with: made once by `service.py`, and given to the application."""

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from framematch.api.access.control import AccessControl
from framematch.api.access.principal import Principal
from framematch.api.admission import Admission
from framematch.api.cameras.directory import CameraDirectory
from framematch.api.engine.engine import SharedEngine
from framematch.api.engine.text_models import TextModels
from framematch.api.engine.triton_state import TritonState
from framematch.api.metrics import ApiMetrics
from framematch.api.operations.runner import OperationRunner
from framematch.api.operations.store import OperationStore
from framematch.api.paging import PageTokens
from framematch.api.problems import Problem
from framematch.api.stream.hub import EventHub
from framematch.catalog.changes.product_changes import ProductChanges
from framematch.catalog.mongo import Database
from framematch.catalog.products import ProductStore
from framematch.core.health import Health
from framematch.core.settings import Settings
from framematch.matching.enrich import MetadataCache
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.matching.serving.watcher import SnapshotWatcher


@dataclass(frozen=True)
class Threads:
    """For what takes CPU: `decode` for pictures, `search` for the index, which runs one search at a time."""

    decode: Executor
    search: Executor

    @classmethod
    def start(cls, decode_threads: int, resources: AsyncExitStack) -> Self:
        """New threads, which end with `resources`."""
        decode = resources.enter_context(ThreadPoolExecutor(decode_threads, "decode"))
        return cls(decode, resources.enter_context(ThreadPoolExecutor(1, "search")))


@dataclass(frozen=True, eq=False)
class Services:
    """The collaborators of all routes.

    `stop` is set when the process is to end: answers without an end end then.
    """

    settings: Settings
    database: Database
    products: ProductStore
    changes: ProductChanges
    operations: OperationStore
    runner: OperationRunner
    watcher: SnapshotWatcher
    metadata: MetadataCache
    threads: Threads
    triton: TritonState
    engine: SharedEngine
    texts: TextModels
    admission: Admission
    cameras: CameraDirectory
    events: EventHub
    page_tokens: PageTokens
    access: AccessControl
    health: Health
    registry: CollectorRegistry
    metrics: ApiMetrics
    stop: asyncio.Event

    def served(self) -> ServedSnapshot:
        """The snapshot for one request: take it once, so that an answer does not mix two.

        Raises:
            Problem: there is no index yet, or it cannot be served (503).
        """
        served = self.watcher.active
        if served is None:
            refusal = self.watcher.refusal
            raise Problem(
                503, "no_snapshot",
                refusal.reason if refusal else "the catalogue has no index yet",
                hint=refusal.hint if refusal else "Import products, then build and activate a snapshot",
                headers={"Retry-After": "10"},
            )  # fmt: skip
        return served


# Asynchronous, though nothing is waited for: FastAPI calls others in a thread, which takes longer than they do.
async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


CurrentServices = Annotated[Services, Depends(_services)]
CurrentPrincipal = Annotated[Principal, Depends(_principal)]
