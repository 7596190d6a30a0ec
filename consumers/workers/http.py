"""One HTTP endpoint for all workers: requests each worker's own endpoint and merges the responses."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from framematch.core.health import metrics_response, serve_routes
from framematch.core.settings import HttpSettings

_TIMEOUT_S = 2.0  # less than our own client's timeout


@dataclass(frozen=True)
class WorkerResponse:
    """A worker's response; with a `reason` there was none: 503 it does not listen yet, 504 it is stuck."""

    status: int
    text: str = ""
    reason: str = ""


@asynccontextmanager
async def serve_workers(
    sockets: Mapping[int, Path], registry: CollectorRegistry, settings: HttpSettings
) -> AsyncIterator[str]:
    """Serve /healthz, /readyz and /metrics for the workers that listen at `sockets`, as `serve_routes` does."""
    async with AsyncExitStack() as stack:
        sessions = {n: await stack.enter_async_context(_session(socket)) for n, socket in sockets.items()}

        async def get_all(path: str) -> dict[int, WorkerResponse]:
            responses = await asyncio.gather(*(_get(session, path) for session in sessions.values()))
            return dict(zip(sessions, responses, strict=True))

        async def healthz(_request: web.Request) -> web.Response:
            stuck = stuck_workers(await get_all("/healthz"))
            return web.json_response(stuck or {"status": "ok"}, status=503 if stuck else 200)

        async def readyz(_request: web.Request) -> web.Response:
            responses = await get_all("/readyz")
            ready = all(response.status == HTTPStatus.OK for response in responses.values())
            return web.json_response(readiness(responses), status=200 if ready else 503)

        async def metrics(_request: web.Request) -> web.Response:
            return metrics_response(with_workers(registry, await get_all("/metrics")))

        routes = [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
        yield await stack.enter_async_context(serve_routes(routes, settings))


def stuck_workers(responses: Mapping[int, WorkerResponse]) -> dict[str, str]:
    """The workers whose event loop is blocked; not those that are starting."""
    stuck = HTTPStatus.GATEWAY_TIMEOUT
    return {_name(n): response.reason for n, response in responses.items() if response.status == stuck}


def readiness(responses: Mapping[int, WorkerResponse]) -> dict[str, str]:
    """The parts of all workers (`worker-1.kafka`), each `ok` or a reason; or why a worker did not respond."""
    report: dict[str, str] = {}
    for number, response in responses.items():
        if response.reason:
            report[_name(number)] = response.reason
        else:
            report |= {f"{_name(number)}.{part}": state for part, state in json.loads(response.text).items()}
    return report


def with_workers(registry: CollectorRegistry, responses: Mapping[int, WorkerResponse]) -> CollectorRegistry:
    """A registry with the metrics of `registry` and, labelled `worker`, those of all workers that responded."""
    families: dict[str, Metric] = {}
    for number, response in responses.items():
        text = response.text if response.status == HTTPStatus.OK else ""
        for family in text_string_to_metric_families(text):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                merged.add_sample(sample.name, {"worker": str(number), **sample.labels}, sample.value)
    together = CollectorRegistry()
    together.register(registry)
    together.register(_Collected(families.values()))
    return together


class _Collected(Collector):
    """A collector of metrics that were collected elsewhere."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _name(number: int) -> str:
    return f"worker-{number}"


def _session(socket: Path) -> aiohttp.ClientSession:
    # A connection for each request: a kept one could still lead to the worker's former process.
    connector = aiohttp.UnixConnector(str(socket), force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))


async def _get(session: aiohttp.ClientSession, path: str) -> WorkerResponse:
    try:
        async with session.get(f"http://worker{path}") as response:
            return WorkerResponse(response.status, await response.text())
    except aiohttp.ClientConnectorError:
        return WorkerResponse(HTTPStatus.SERVICE_UNAVAILABLE, reason="starting")
    except TimeoutError:
        return WorkerResponse(HTTPStatus.GATEWAY_TIMEOUT, reason=f"no answer within {_TIMEOUT_S:g} s")
    except aiohttp.ClientError:
        return WorkerResponse(HTTPStatus.SERVICE_UNAVAILABLE, reason="died during the request")
