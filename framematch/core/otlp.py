"""Exports spans by OTLP over HTTP in the background, with OpenTelemetry's own exporter (extra `tracing`)."""

import os
import re
import threading
from importlib.metadata import version
from urllib.parse import unquote

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from framematch.core.errors import SettingsError
from framematch.core.tracing import Span, TraceContext

log = structlog.get_logger()

_PATH = "/v1/traces"
_FLUSH_S = 3.0
_HEADER_VARIABLES = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
# What the exporter's parser accepts: an HTTP token, "=", and printable ASCII without separators.
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*=[ !#-+\--:<-\[\]-~]*")
_KINDS = {"internal": SpanKind.INTERNAL, "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER}


class OtlpExporter:
    """Queues spans and sends them from its own thread, 512 at a time or every 5 s; `close` it.

    When more than 2048 are queued, the oldest are dropped. These limits and the exporter's other options are read from
    OpenTelemetry's variables: OTEL_BSP_…, OTEL_EXPORTER_OTLP_HEADERS, …_CERTIFICATE, …_TIMEOUT, OTEL_SERVICE_NAME,
    OTEL_RESOURCE_ATTRIBUTES.

    Raises:
        SettingsError: the headers are malformed.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        _check_headers()
        ours = Resource(
            {
                "service.namespace": "framematch",
                "service.name": f"framematch-{service}",
                "service.version": version("framematch"),
            }
        )
        self._resource = ours.merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("framematch", version("framematch"))
        self._queue = BatchSpanProcessor(OTLPSpanExporter(endpoint.rstrip("/") + _PATH))

    def export(self, span: Span) -> None:
        """Queue `span` without blocking."""
        # OpenTelemetry's own tracer would choose new ids, but the root's are already in the frame's header.
        self._queue.on_end(
            ReadableSpan(
                span.name,
                context=_context(span.context),
                parent=_context(span.parent, is_remote=span.kind == "consumer") if span.parent else None,
                resource=self._resource,
                attributes=span.attributes,
                kind=_KINDS[span.kind],
                start_time=span.started_ns,
                end_time=span.ended_ns,
                instrumentation_scope=self._scope,
            )
        )

    def close(self) -> None:
        """Send the queued spans for at most `_FLUSH_S`, and drop the rest."""
        # A daemon thread, because the queue's shutdown waits as long as the receiver takes to answer.
        closing = threading.Thread(target=self._queue.shutdown, name="otlp-close", daemon=True)
        closing.start()
        closing.join(_FLUSH_S)
        if closing.is_alive():
            log.warning("spans_given_up", reason=f"the receiver did not accept them within {_FLUSH_S:g} s")


def _check_headers() -> None:
    """Refuse malformed headers before the exporter logs them: they may contain a token."""
    for name in _HEADER_VARIABLES:
        parts = [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]
        if not all(_HEADER.fullmatch(part) and unquote(part).isprintable() for part in parts):
            raise SettingsError(
                f"{name} is malformed", hint="Give name=value, several separated by commas, with values URL-encoded"
            )


def _context(context: TraceContext, *, is_remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(context.trace_id, context.span_id, is_remote=is_remote, trace_flags=flags)
