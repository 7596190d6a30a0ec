"""For tests of the event stream: a parser as in browsers, the application with the stream alone, a client inside it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast
from urllib.parse import quote

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from framematch.api.access.anonymous import AnonymousAuthenticator
from framematch.api.access.rate_limit import RateLimit
from framematch.api.admission import Admission, AdmissionMetrics
from framematch.api.app import create_app
from framematch.api.guard.guard import Authenticator
from framematch.api.metrics import ApiMetrics
from framematch.api.services import Services
from framematch.api.stream.hub import EventHub
from framematch.core.settings import ApiSettings, KafkaSettings, Settings

PATH = "/v1/events/stream"


@dataclass(frozen=True)
class SseEvent:
    """What a page gets."""

    type: str
    data: str
    id: str


@dataclass
class SseParser:
    """The parser of the HTML Standard, section 9.2.6; `last_id` is what a browser sends when it connects again."""

    last_id: str = ""
    comments: list[str] = field(default_factory=list)
    _left: bytes = b""
    _type: str = ""
    _data: list[str] = field(default_factory=list)
    _id: str = ""

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that are complete."""
        *lines, self._left = (self._left + data).split(b"\n")
        return [event for line in lines if (event := self._line(line.decode())) is not None]

    def _line(self, line: str) -> SseEvent | None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            return self._dispatch()
        match name:
            case "":
                self.comments.append(value)
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
        return None

    def _dispatch(self) -> SseEvent | None:
        self.last_id = self._id or self.last_id
        event = SseEvent(self._type or "message", "\n".join(self._data), self.last_id) if self._data else None
        self._type, self._data = "", []
        return event


@asynccontextmanager
async def stream_app(
    kafka: KafkaSettings, *, authenticator: Authenticator | None = None, run: bool = True, **api: Any
) -> AsyncIterator[tuple[FastAPI, EventHub]]:
    """The application with nothing behind it but the event stream; `api` are settings, also below their minimum."""
    settings = Settings(kafka=kafka, api=ApiSettings().model_copy(update=api))
    registry = CollectorRegistry()
    hub = EventHub(kafka, settings.api, registry, lambda _reason: None)
    metrics = ApiMetrics(registry)
    services = SimpleNamespace(
        settings=settings,
        events=hub,
        stop=asyncio.Event(),
        access=SimpleNamespace(
            authenticator=authenticator or AnonymousAuthenticator(), rate_limit=RateLimit(0), audit=None
        ),
        admission=Admission(pictures_max=1, body_bytes_max=1, metrics=AdmissionMetrics(registry, metrics.rejected)),
        metrics=metrics,
        registry=registry,
    )
    app = create_app(cast("Services", services))
    reading = asyncio.ensure_future(hub.run()) if run else None
    try:
        yield app, hub
    finally:
        services.stop.set()
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


class StreamClient:
    """A client inside the process: it takes what is sent as long as `reads` is set."""

    def __init__(self, app: FastAPI, query: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.parser = SseParser()
        self.events: list[SseEvent] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.sent_bytes = 0
        self.aborted = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()
        self._news = asyncio.Event()
        self._limit_bytes: int | None = None
        self._scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": PATH, "raw_path": PATH.encode(), "root_path": "",
            "query_string": quote(query, safe="=&,").encode(), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "extensions": {"framematch.abort": {"abort": self._abort}},
        }  # fmt: skip
        self._app = app
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.task = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.gone.set()
        if self.task is not None:
            await self.task

    async def take(self, count: int) -> list[SseEvent]:
        """Wait until there are so many events."""
        await self.until(lambda: len(self.events) >= count)
        return self.events[:count]

    async def until(self, condition: Any, timeout_s: float = 20.0) -> None:
        """Wait until a condition on what came is true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def cut_after(self, size_bytes: int) -> None:
        """Take so many bytes, then no more."""
        self._limit_bytes = size_bytes

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        finally:
            self._news.set()

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            body = message["body"]
            if self._limit_bytes is not None:
                body = body[: max(0, self._limit_bytes - self.sent_bytes)]
            self.sent_bytes += len(body)
            self.body = (self.body + body)[-10_000:]
            self.events += self.parser.feed(body)
            if self.sent_bytes == self._limit_bytes:
                self.gone.set()
        self._news.set()
        await asyncio.sleep(0)

    def _abort(self) -> None:
        self.aborted = True
        self.gone.set()
