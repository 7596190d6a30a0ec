"""The spans of a frame, and tracing without an endpoint, without its packages, or with malformed headers."""

import sys

import pytest

from framematch.core.errors import PrerequisiteError, SettingsError
from framematch.core.settings import TracingSettings
from framematch.core.settings_sources import load_settings
from framematch.core.tracing import Span, TraceContext, Tracer, open_tracer

HEADER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
STAGES = {"decode": (1_000, 2_000), "infer": (2_500, 4_000), "search": (4_000, 4_100)}
ATTRIBUTES = {"framematch.camera": "till-1"}
TOKEN = "hunter2"


class Recorded:
    """A tracer and its exported spans."""

    def __init__(self, sample_ratio: float = 1.0) -> None:
        self.spans: list[Span] = []
        self.tracer = Tracer(self.spans.append, sample_ratio)


def test_a_frame_is_a_child_of_its_header_and_its_stages_are_children_of_it() -> None:
    found = Recorded()
    published = TraceContext.parse(found.tracer.frame(HEADER, STAGES, ATTRIBUTES))
    frame, *stages = found.spans
    assert frame.parent == TraceContext.parse(HEADER)
    assert frame.context == published
    assert (frame.name, frame.kind, frame.attributes) == ("framematch consume", "consumer", ATTRIBUTES)
    assert (frame.started_ns, frame.ended_ns) == (1_000, 4_100)
    assert {span.name: (span.started_ns, span.ended_ns) for span in stages} == STAGES
    assert {span.parent for span in stages} == {published}
    assert len({span.context.span_id for span in found.spans}) == 4
    assert {span.context.trace_id for span in found.spans} == {0x0123456789ABCDEF0123456789ABCDEF}


def test_a_captured_frame_is_the_root_with_the_ids_of_its_header() -> None:
    found, context = Recorded(), TraceContext.new()
    found.tracer.captured(context, STAGES, ATTRIBUTES)
    root, *stages = found.spans
    assert (root.name, root.kind, root.context, root.parent) == ("framematch capture", "producer", context, None)
    assert {span.parent for span in stages} == {context}


def test_a_frame_that_is_not_sampled_has_no_span_and_keeps_its_header() -> None:
    found, header = Recorded(), HEADER[:-1] + "0"
    assert found.tracer.frame(header, STAGES, ATTRIBUTES) == header
    assert found.spans == []


def test_a_frame_outside_the_sample_has_no_span_and_keeps_its_header() -> None:
    found = Recorded(sample_ratio=0.0)
    found.tracer.captured(TraceContext.new(), STAGES, ATTRIBUTES)
    assert found.tracer.frame(HEADER, STAGES, ATTRIBUTES) == HEADER
    assert found.spans == []


@pytest.mark.parametrize(("sample_ratio", "spans"), [(1.0, 4), (0.0, 0)])
def test_a_frame_without_a_header_starts_a_trace(sample_ratio: float, spans: int) -> None:
    found = Recorded(sample_ratio)
    began = TraceContext.parse(found.tracer.frame(None, STAGES, ATTRIBUTES))
    assert began is not None
    assert began.sampled == bool(spans)
    assert len(found.spans) == spans
    assert all(span.parent is None for span in found.spans[:1])


def test_a_frame_without_stages_has_no_span() -> None:
    found = Recorded()
    assert found.tracer.frame(HEADER, {}, ATTRIBUTES) == HEADER
    assert found.spans == []


def test_without_an_endpoint_there_is_no_tracer() -> None:
    with open_tracer(TracingSettings(), "edge") as tracer:
        assert tracer is None


def test_an_endpoint_without_the_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "framematch.core.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    settings = load_settings(overrides={"tracing": {"otlp_endpoint": "http://127.0.0.1:1"}}).tracing
    with (
        pytest.raises(PrerequisiteError, match=r"'opentelemetry.*framematch\[tracing\]"),
        open_tracer(settings, "edge"),
    ):
        pass


@pytest.mark.parametrize(
    "headers", [f"authorization: Bearer {TOKEN}", f"x={TOKEN},y", f'x="{TOKEN}"', f"x={TOKEN}%0A."]
)
def test_malformed_headers_are_refused_without_being_shown(headers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    settings = load_settings(overrides={"tracing": {"otlp_endpoint": "http://127.0.0.1:1"}}).tracing
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught, open_tracer(settings, "edge"):
        pass
    assert TOKEN not in str(caught.value)


def test_an_empty_variable_sets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    assert load_settings().tracing.otlp_endpoint is None


def test_an_endpoint_that_is_no_http_url_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"grpc://user:{TOKEN}@collector:4317")
    with pytest.raises(SettingsError, match=r"tracing\.otlp_endpoint: give an http://") as caught:
        load_settings()
    assert TOKEN not in str(caught.value)
