"""Traces of frames: one span per frame and service with a child span per stage, exported when an endpoint is set.

Spans are built afterwards from times that the services measure anyway, so nothing is wrapped. The header that carries
their ids is W3C's `traceparent` (https://www.w3.org/TR/trace-context/).
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import structlog

from framematch.core.errors import PrerequisiteError
from framematch.core.redact import redact_url
from framematch.core.settings import TracingSettings

log = structlog.get_logger()

_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_SAMPLED = 0x01
_ID_HALF = 1 << 64

Attributes = Mapping[str, str | int | float | bool]
"""Named as OpenTelemetry's semantic conventions do, or `framematch.…`."""
Stages = Mapping[str, tuple[int, int]]
"""The start and end of each stage, in nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The identity of one span: its trace, its own id, and whether the trace's root asked for it to be recorded."""

    trace_id: int
    span_id: int
    sampled: bool

    @classmethod
    def new(cls, sample_ratio: float = 1.0) -> Self:
        """The root of a new trace; a share of `sample_ratio` (0 to 1) is sampled."""
        trace_id = random.getrandbits(128) or 1  # 0 is not a valid id; the id is random, but no secret
        return cls(trace_id, _new_span_id(), in_sample(trace_id, sample_ratio))

    @classmethod
    def parse(cls, traceparent: str | None) -> Self | None:
        """The context in a `traceparent` header, or None when the header is missing or malformed."""
        found = _TRACEPARENT.fullmatch(traceparent or "")
        if found is None:
            return None
        trace_id, span_id = int(found["trace"], 16), int(found["span"], 16)
        if not (trace_id and span_id):
            return None
        return cls(trace_id, span_id, bool(int(found["flags"], 16) & _SAMPLED))

    def child(self) -> Self:
        """A new child span of this one."""
        return replace(self, span_id=_new_span_id())

    def __str__(self) -> str:
        """The `traceparent` header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{_SAMPLED if self.sampled else 0:02x}"


@dataclass(frozen=True, slots=True)
class Span:
    """An operation and its duration, in nanoseconds since 1970. `parent` is None at the root of a trace."""

    name: str
    kind: Literal["internal", "producer", "consumer"]
    context: TraceContext
    parent: TraceContext | None
    started_ns: int
    ended_ns: int
    attributes: Attributes = field(default_factory=dict)


class Tracer:
    """Builds the spans of frames and passes them to `export`, which must not block.

    A trace is recorded when its root was sampled and it is also within our own `sample_ratio`.
    """

    def __init__(self, export: Callable[[Span], None], sample_ratio: float = 1.0) -> None:
        self._export = export
        self._sample_ratio = sample_ratio

    def captured(self, context: TraceContext, stages: Stages, attributes: Attributes) -> None:
        """Record the root span of a frame; `context` is the one in the frame's own header."""
        if stages and self._records(context):
            self._record(Span("framematch capture", "producer", context, None, *_extent(stages), attributes), stages)

    def frame(self, traceparent: str | None, stages: Stages, attributes: Attributes) -> str:
        """Record the span of a consumed frame, from the start of its first stage to the end of its last.

        Returns:
            The `traceparent` for events about the frame: of the new span, or the given one when it is not recorded.
        """
        parent = TraceContext.parse(traceparent)
        context = parent.child() if parent else TraceContext.new(self._sample_ratio)
        if stages and self._records(context):
            self._record(Span("framematch consume", "consumer", context, parent, *_extent(stages), attributes), stages)
            return str(context)
        return str(parent or context)

    def _records(self, context: TraceContext) -> bool:
        return context.sampled and in_sample(context.trace_id, self._sample_ratio)

    def _record(self, frame: Span, stages: Stages) -> None:
        self._export(frame)
        for name, (started_ns, ended_ns) in stages.items():
            self._export(Span(name, "internal", frame.context.child(), frame.context, started_ns, ended_ns))


@contextmanager
def open_tracer(settings: TracingSettings, service: str) -> Iterator[Tracer | None]:
    """A tracer that exports spans in the background, or None when no endpoint is set; flushes at the end.

    An unreachable receiver loses the spans and nothing else; the exporter logs its errors.

    Raises:
        PrerequisiteError: an endpoint is set, and the packages of the extra `tracing` are not installed.
        SettingsError: OpenTelemetry's own variables for headers are malformed.
    """
    if settings.otlp_endpoint is None:
        yield None
        return
    try:
        from framematch.core.otlp import OtlpExporter  # noqa: PLC0415  # its packages are an extra
    except ImportError as error:
        raise PrerequisiteError(
            f"tracing needs the Python package {error.name!r}",
            hint="Install it with: pip install 'framematch[tracing]', or unset OTEL_EXPORTER_OTLP_ENDPOINT",
        ) from error
    endpoint = settings.otlp_endpoint.get_secret_value()
    exporter = OtlpExporter(endpoint, service)
    log.info("tracing_started", endpoint=redact_url(endpoint), sample_ratio=settings.sample_ratio)
    try:
        yield Tracer(exporter.export, settings.sample_ratio)
    finally:
        exporter.close()


def in_sample(trace_id: int, sample_ratio: float) -> bool:
    """Whether a trace is sampled, by the lower half of its id, as OpenTelemetry's TraceIdRatioBased sampler does.

    Every service with the same ratio chooses the same traces.
    """
    return trace_id % _ID_HALF < sample_ratio * _ID_HALF


def _extent(stages: Stages) -> tuple[int, int]:
    """The start of the first stage and the end of the last."""
    return min(started_ns for started_ns, _ in stages.values()), max(ended_ns for _, ended_ns in stages.values())


def _new_span_id() -> int:
    return random.getrandbits(64) or 1
