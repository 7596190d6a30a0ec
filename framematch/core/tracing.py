"""Traces of frames: a span for each frame and service, one beneath it for each stage, sent when an endpoint is set.

Spans are made after the fact from the times that the services take anyway, so that nothing is wrapped and, without an
endpoint, nothing is done.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from framematch.core.errors import PrerequisiteError
from framematch.core.redact import redact_url
from framematch.core.settings import TracingSettings
from framematch.core.spans import Attributes, Span, TraceContext, within

log = structlog.get_logger()

Stages = Mapping[str, tuple[int, int]]
"""When each stage began and ended, in nanoseconds since 1970."""


class Tracer:
    """Makes the spans of frames and gives them to `export`, which must not wait.

    Only sampled traces are recorded: those that whoever began them wants recorded, and of them `sample_ratio`.
    """

    def __init__(self, export: Callable[[Span], None], sample_ratio: float = 1.0) -> None:
        self._export = export
        self._sample_ratio = sample_ratio

    def captured(self, context: TraceContext, stages: Stages, attributes: Attributes) -> None:
        """The root span of a frame, which has the ids that the frame's own header carries."""
        if stages and self._records(context):
            self._record(Span("framematch capture", "producer", context, None, *_extent(stages), attributes), stages)

    def frame(self, traceparent: str | None, stages: Stages, attributes: Attributes) -> str:
        """The span of a consumed frame, from the begin of its first stage to the end of its last.

        Returns:
            The `traceparent` for what is published of the frame: of this span, or the given one when it is not traced.
        """
        parent = TraceContext.parse(traceparent)
        context = parent.child() if parent else TraceContext.new(self._sample_ratio)
        if stages and self._records(context):
            self._record(Span("framematch consume", "consumer", context, parent, *_extent(stages), attributes), stages)
            return str(context)
        return str(parent or context)

    def _records(self, context: TraceContext) -> bool:
        return context.sampled and within(context.trace_id, self._sample_ratio)

    def _record(self, frame: Span, stages: Stages) -> None:
        self._export(frame)
        for name, (began_ns, ended_ns) in stages.items():
            self._export(Span(name, "internal", frame.context.child(), frame.context, began_ns, ended_ns))


@contextmanager
def open_tracer(settings: TracingSettings, service: str) -> Iterator[Tracer | None]:
    """A tracer that sends spans in the background, or None when no endpoint is set. At the end it waits a moment.

    A receiver that is away costs the spans and nothing else: the exporter's complaints are in the log.

    Raises:
        PrerequisiteError: an endpoint is set, and the packages of the extra `tracing` are not installed.
        SettingsError: OpenTelemetry's own variables for headers are malformed.
    """
    if settings.otlp_endpoint is None:
        yield None
        return
    try:
        from framematch.core.otlp import OtlpExporter  # noqa: PLC0415  # who does not trace does not load it
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


def _extent(stages: Stages) -> tuple[int, int]:
    """From the begin of the first to the end of the last."""
    return min(began_ns for began_ns, _ in stages.values()), max(ended_ns for _, ended_ns in stages.values())
