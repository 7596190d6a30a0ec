"""A receiver of OTLP over HTTP, as a collector is one: takes spans at /v1/traces and keeps them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

TRACES_PATH = "/v1/traces"


@dataclass(frozen=True)
class ReceivedSpan:
    """One span as it was sent; ids are in hexadecimal, `parent_id` is empty at a root."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    started_ns: int
    ended_ns: int
    attributes: dict[str, str | int | bool]


@dataclass
class OtlpReceiver:
    """What came so far. `silent`: requests are read and never answered."""

    silent: bool = False
    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    async def receive(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        spans = _decode(await request.read())
        if self.silent:
            await asyncio.Event().wait()
        self.spans += spans
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


@contextmanager
def otlp_receiver(*, silent: bool = False) -> Iterator[OtlpReceiver]:
    """A receiver in a thread of its own, so that it answers whoever blocks the test's event loop."""
    receiver = OtlpReceiver(silent)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="otlp-receiver")
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(receiver), loop).result(30)
    try:
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _serve(receiver: OtlpReceiver) -> web.AppRunner:
    application = web.Application()
    application.router.add_post(TRACES_PATH, receiver.receive)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


def _decode(body: bytes) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            service=str(_plain(resource.resource.attributes)["service.name"]),
            name=span.name,
            kind=span.kind,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            started_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            attributes=_plain(span.attributes),
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _plain(attributes: list[KeyValue]) -> dict[str, str | int | bool]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in attributes}
