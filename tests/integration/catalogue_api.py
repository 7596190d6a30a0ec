"""The API's routes of the catalogue over a real MongoDB server, with fake encoders and a principal that may do all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import httpx
from prometheus_client import CollectorRegistry

from framematch.api.access.anonymous import AnonymousAuthenticator
from framematch.api.access.rate_limit import RateLimit
from framematch.api.admission import Admission, AdmissionMetrics
from framematch.api.app import create_app
from framematch.api.metrics import ApiMetrics
from framematch.api.operations.operation import Operation
from framematch.api.operations.runner import OperationRunner
from framematch.api.operations.store import OperationStore
from framematch.api.paging import PageTokens
from framematch.api.services import Services
from framematch.core.logging import configure_logging
from framematch.core.settings import Settings
from tests.integration.product_site import ProductSite
from tests.support import eventually

KEY = b"0" * 32


@dataclass
class CatalogueApi:
    """A client of the API, and what is behind it."""

    client: httpx.AsyncClient
    site: ProductSite
    operations: OperationStore
    runner: OperationRunner

    async def ended(self, answer: httpx.Response) -> dict[str, Any]:
        """The operation of an answer, once it has ended."""
        assert answer.status_code == 202, answer.text
        path = answer.headers["location"]
        found: dict[str, Any] = {}

        async def done() -> bool:
            nonlocal found
            found = (await self.client.get(path)).json()
            return bool(found["done"])

        await eventually(done, timeout_s=90, message=f"{path} has ended")
        return found

    async def running(self, operation_id: str) -> Operation:
        """The operation, once its process has reported progress."""
        found: Operation | None = None

        async def runs() -> bool:
            nonlocal found
            found = await self.operations.get(operation_id)
            return found is not None and found.state == "running" and found.progress.total > 0

        await eventually(runs, timeout_s=60, message="the operation reports progress")
        assert found is not None
        return found


@asynccontextmanager
async def catalogue_api(
    site: ProductSite, mongodb_uri: str, *, lease_s: float = 30.0, import_hosts: Sequence[str] = ()
) -> AsyncIterator[CatalogueApi]:
    """The API over the database of a site; operations run in processes."""
    settings = Settings.model_validate(
        {
            "mongodb": {"uri": mongodb_uri, "database": site.database.name},
            "api": {"auth": "none", "import_hosts": import_hosts},
        }
    )
    configure_logging("warning", "json")  # processes log where this one does, and pytest's own handler is no file
    registry, stop = CollectorRegistry(), asyncio.Event()
    metrics = ApiMetrics(registry)
    operations = OperationStore(site.database, lease_s=lease_s)
    runner = OperationRunner(operations, settings, poll_s=0.1)
    with ThreadPoolExecutor(1) as threads:
        services = SimpleNamespace(
            settings=settings,
            database=site.database,
            products=site.store,
            changes=site.changes,
            operations=operations,
            runner=runner,
            threads=SimpleNamespace(decode=threads),
            admission=Admission(
                pictures_max=8, body_bytes_max=1_000_000, metrics=AdmissionMetrics(registry, metrics.rejected)
            ),
            page_tokens=PageTokens(KEY),
            access=SimpleNamespace(authenticator=AnonymousAuthenticator(), rate_limit=RateLimit(0), audit=None),
            metrics=metrics,
            stop=stop,
        )
        transport = httpx.ASGITransport(create_app(cast("Services", services)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            task = asyncio.ensure_future(runner.run(stop))
            try:
                yield CatalogueApi(client, site, operations, runner)
            finally:
                stop.set()
                await task
