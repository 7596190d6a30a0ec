"""The whole API in this process, over real MongoDB and a real OIDC issuer; Triton and Kafka are away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute

from framematch.api.access.key_store import create_key
from framematch.api.access.policy import Access, access_of
from framematch.api.app import create_app
from framematch.api.routes import ROUTERS
from framematch.api.service import running_services
from framematch.api.services import Services
from framematch.core.settings import Settings
from tests.integration.issuer import AUDIENCE, Issuer, running_issuer


@dataclass(frozen=True)
class Route:
    """One method of one path, with its parameters filled in."""

    method: str
    template: str
    access: Access

    def path(self, value: str = "till-1") -> str:
        """The path with `value` for each parameter."""
        parts = self.template.replace("{", "\0").replace("}", "\0").split("\0")
        return "".join(value if place % 2 else part for place, part in enumerate(parts))


def all_routes() -> Iterator[Route]:
    """Every route of the API."""
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and (access := access_of(route)):
                for method in sorted(route.methods or ()):
                    yield Route(method, route.path, access)


@dataclass(frozen=True)
class ApiSite:
    """The application, what it works with, and an issuer that it trusts."""

    app: FastAPI
    services: Services
    issuer: Issuer
    client: httpx.AsyncClient

    async def key(self, *scopes: str, **fields: Any) -> str:
        """A new key."""
        given = {"name": "test", "scopes": scopes, "cameras": ["*"], **fields}
        return (await create_key(self.services.database, **given))[1]


@asynccontextmanager
async def running_site(mongodb_uri: str, database: str, **api: Any) -> AsyncIterator[ApiSite]:
    """The API inside the context, with these settings of its section."""
    async with running_issuer() as issuer:
        oidc = {"issuer": issuer.url, "audience": AUDIENCE}
        settings = Settings.model_validate(
            {
                "mongodb": {"uri": mongodb_uri, "database": database},
                "kafka": {"bootstrap_servers": "127.0.0.1:1"},
                "triton": {"url": "127.0.0.1:1"},
                "api": {"port": 0, "oidc": oidc, "failures_per_minute": 0, **api},
            }
        )
        async with running_services(settings, asyncio.Event()) as services:
            app = create_app(services)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
                yield ApiSite(app, services, issuer, client)
