"""The application with a catalogue, a model and an index that are made up, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter

from framematch.api.access.anonymous import AnonymousAuthenticator
from framematch.api.access.rate_limit import RateLimit
from framematch.api.admission import Admission, AdmissionMetrics
from framematch.api.app import create_app
from framematch.api.engine.engine import SharedEngine
from framematch.api.engine.triton_state import HEALTH_PART, TritonState
from framematch.api.metrics import ApiMetrics
from framematch.api.services import Threads
from framematch.catalog.product import Product, ProductFilter
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import EmbeddingError, FramematchError
from framematch.core.health import Health
from framematch.core.settings import ApiSettings, MatchingSettings, Settings
from framematch.matching.decision import Candidate, Decision, Thresholds, decide
from framematch.matching.enrich import MetadataCache
from framematch.matching.serving.served_snapshot import ServedSnapshot
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from tests.unit.consumers.sample_frames import make_served

SPEC = PreprocessSpec(8, 8, 8, "bilinear", 1 / 255, (0, 0, 0), (1, 1, 1))


def admission_metrics(registry: CollectorRegistry) -> AdmissionMetrics:
    """Those of admission, in a registry of the test."""
    return AdmissionMetrics(registry, Counter("framematch_api_rejected", "by reason", ["reason"], registry=registry))


class FakeStore:
    """Has two products; `error` is raised instead."""

    def __init__(self) -> None:
        self.error: FramematchError | None = None

    async def get_many(self, ids: Iterable[str]) -> dict[str, Product]:
        if self.error:
            raise self.error
        known = {
            "milk": Product("milk", "Fresh Milk", "Dairy", Decimal("1.5")),
            "juice": Product("juice", "Orange Juice"),
        }
        return {one: known[one] for one in ids if one in known}

    async def ids_of(self, wanted: ProductFilter) -> frozenset[str] | None:
        return None if wanted.selects_all else frozenset({"juice"})


class FakeEncoder:
    """The embedding of a picture is its brightness. White pictures cannot be embedded; it waits for `go`."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.batches: list[int] = []
        self.waiting = 0
        self.error: FramematchError | None = None
        self.manifest = SimpleNamespace(dimension=1, max_batch_size=16, context_length=None)

    async def embed(self, pixels: Pixels) -> Embeddings:
        self.batches.append(len(pixels))
        self.waiting += 1
        try:
            await self.go.wait()
        finally:
            self.waiting -= 1
        if self.error:
            raise self.error
        rows: Embeddings = pixels.reshape(len(pixels), -1).mean(axis=1, dtype=np.float32)[:, np.newaxis] / np.float32(
            255
        )
        bad = tuple(np.flatnonzero(rows[:, 0] > 0.85).tolist())
        if bad:
            raise EmbeddingError("no unit vectors", bad_rows=bad, embeddings=rows)
        return rows

    async def check(self) -> None:
        if self.error:
            raise self.error


class FakeMatcher:
    """The similarity of milk is the query, that of juice 0.5."""

    thresholds = Thresholds(0.55, 0.01)

    def __init__(self) -> None:
        self.searches: list[tuple[int, int]] = []

    def search(self, rows: Embeddings, k: int, among: frozenset[str] | None) -> list[tuple[Candidate, ...]]:
        self.searches.append((len(rows), k))
        every = [[Candidate("milk", float(row[0])), Candidate("juice", 0.5)] for row in rows]
        fitting = [[one for one in each if among is None or one.product_id in among] for each in every]
        return [tuple(sorted(each, key=lambda one: -one.score)[:k]) for each in fitting]

    def decide(self, found: Sequence[tuple[Candidate, ...]], _rows: Embeddings, k: int) -> list[Decision]:
        return [decide(candidates, self.thresholds, k) for candidates in found]

    def nearest_picture(self, _embedding: Embeddings, _images: Iterable[str]) -> str | None:
        return "00ff"


class FakeSite:
    """The application, and what it works with."""

    def __init__(self, threads: ThreadPoolExecutor, **api: Any) -> None:
        self.registry = CollectorRegistry()
        self.store = FakeStore()
        store: Any = self.store
        self.encoder, self.matcher = FakeEncoder(), FakeMatcher()
        self.served: ServedSnapshot = make_served(
            delta=3, preprocessor=Preprocessor(SPEC), encoder=self.encoder, matcher=self.matcher
        )
        self.served.manifest.created_at = "2026-01-31T12:00:00Z"  # type: ignore[misc]  # a stand-in
        metrics = ApiMetrics(self.registry)
        settings = Settings(api=ApiSettings(auth="none", **api), matching=MatchingSettings(min_quality=0))
        self.triton = TritonState(lambda: self.served, Health(HEALTH_PART))
        self.engine = SharedEngine(
            decode_threads=threads, search_thread=threads, triton=self.triton, batch_size=settings.api.batch_size
        )
        self.admission = Admission(
            pictures_max=settings.api.pictures_in_flight_max,
            body_bytes_max=settings.api.body_mb_in_flight_max * 1_000_000,
            metrics=AdmissionMetrics(self.registry, metrics.rejected),
        )
        services: Any = SimpleNamespace(
            settings=settings,
            products=store,
            metadata=MetadataCache(store),
            threads=Threads(threads, threads),
            triton=self.triton,
            engine=self.engine,
            admission=self.admission,
            served=lambda: self.served,
            access=SimpleNamespace(
                authenticator=AnonymousAuthenticator(), rate_limit=RateLimit(0), audit=None, keys=None
            ),
            metrics=metrics,
            registry=self.registry,
        )
        self.app: FastAPI = create_app(services)

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a metric."""
        return self.registry.get_sample_value(name, labels)


@asynccontextmanager
async def running_site(**api: Any) -> AsyncIterator[FakeSite]:
    """The application with its engine running; `api` are settings."""
    with ThreadPoolExecutor(1) as threads:
        site = FakeSite(threads, **api)
        task = asyncio.ensure_future(site.engine.run())
        try:
            yield site
        finally:
            task.cancel()
            await asyncio.wait({task})


@asynccontextmanager
async def client_of(site: FakeSite) -> AsyncIterator[httpx.AsyncClient]:
    """A client on this machine."""
    transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


class RawRequest:
    """A POST whose body comes, and whose connection ends, when the test says so."""

    def __init__(self, site: FakeSite, path: str, headers: dict[str, str]) -> None:
        self.status: int | None = None
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        every = {"host": "127.0.0.1", **headers}
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in every.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1",
        }  # fmt: skip
        self.done = asyncio.ensure_future(self._run(site, scope))

    def send(self, body: bytes, *, more: bool = False) -> None:
        """A part of the body."""
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """End the connection."""
        self._messages.put_nowait({"type": "http.disconnect"})

    async def _run(self, site: FakeSite, scope: dict[str, Any]) -> None:
        await site.app(scope, self._messages.get, self._answer)

    async def _answer(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    """The status of each answer."""
    return [answer.status_code for answer in answers]
