"""One HTTP endpoint for several workers: asks each at its socket, and answers for all of them together."""

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

_TIMEOUT_S = 2.0  # less than whoever asks us waits


@dataclass(frozen=True)
class Answer:
    """What a worker answered; with a `reason`, that it did not: 503 it does not listen yet, 504 it is stuck."""

    status: int
    text: str = ""
    reason: str = ""


@asynccontextmanager
async def serve_workers(
    sockets: Mapping[int, Path], registry: CollectorRegistry, settings: HttpSettings
) -> AsyncIterator[str]:
    """Serve /healthz, /readyz and /metrics for the workers that listen at `sockets`, and give the URL.

    Raises:
        SettingsError: see `framematch.core.health.serve_routes`.
    """
    async with AsyncExitStack() as stack:
        sessions = {n: await stack.enter_async_context(_session(socket)) for n, socket in sockets.items()}

        async def ask(path: str) -> dict[int, Answer]:
            answers = await asyncio.gather(*(_get(session, path) for session in sessions.values()))
            return dict(zip(sessions, answers, strict=True))

        async def healthz(_request: web.Request) -> web.Response:
            stuck = stuck_workers(await ask("/healthz"))
            return web.json_response(stuck or {"status": "ok"}, status=503 if stuck else 200)

        async def readyz(_request: web.Request) -> web.Response:
            answers = await ask("/readyz")
            ready = all(answer.status == HTTPStatus.OK for answer in answers.values())
            return web.json_response(readiness(answers), status=200 if ready else 503)

        async def metrics(_request: web.Request) -> web.Response:
            return metrics_response(with_workers(registry, await ask("/metrics")))

        routes = [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
        yield await stack.enter_async_context(serve_routes(routes, settings))


def stuck_workers(answers: Mapping[int, Answer]) -> dict[str, str]:
    """Those whose event loop does not come round. One that starts or is started again is none of them."""
    return {_name(n): answer.reason for n, answer in answers.items() if answer.status == HTTPStatus.GATEWAY_TIMEOUT}


def readiness(answers: Mapping[int, Answer]) -> dict[str, str]:
    """The parts of all workers (`worker-1.kafka`), each with `ok` or the reason; or why a worker says nothing."""
    report: dict[str, str] = {}
    for number, answer in answers.items():
        if answer.reason:
            report[_name(number)] = answer.reason
        else:
            report |= {f"{_name(number)}.{part}": state for part, state in json.loads(answer.text).items()}
    return report


def with_workers(registry: CollectorRegistry, answers: Mapping[int, Answer]) -> CollectorRegistry:
    """A registry that gives what `registry` does, and the metrics of all workers that answered, by `worker`."""
    families: dict[str, Metric] = {}
    for number, answer in answers.items():
        text = answer.text if answer.status == HTTPStatus.OK else ""
        for family in text_string_to_metric_families(text):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                merged.add_sample(sample.name, {"worker": str(number), **sample.labels}, sample.value)
    together = CollectorRegistry()
    together.register(registry)
    together.register(_Given(families.values()))
    return together


class _Given(Collector):
    """Gives metrics that somebody else has collected."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _name(number: int) -> str:
    return f"worker-{number}"


def _session(socket: Path) -> aiohttp.ClientSession:
    # A connection for each question: one that is kept would be that of a worker before the last.
    connector = aiohttp.UnixConnector(str(socket), force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))


async def _get(session: aiohttp.ClientSession, path: str) -> Answer:
    try:
        async with session.get(f"http://worker{path}") as response:
            return Answer(response.status, await response.text())
    except aiohttp.ClientConnectorError:
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, reason="starting")
    except TimeoutError:
        return Answer(HTTPStatus.GATEWAY_TIMEOUT, reason=f"no answer within {_TIMEOUT_S:g} s")
    except aiohttp.ClientError:
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, reason="died while it was asked")
