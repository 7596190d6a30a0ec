"""Spans are exported to a real OTLP/HTTP receiver, and services run on without it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from framematch.core import otlp
from framematch.core.frames import parse_frame
from framematch.core.logging import configure_logging
from framematch.core.settings import TracingSettings
from framematch.core.tracing import open_tracer
from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import edge_service, new_prefix, read_topic, write_images
from tests.integration.otlp_receiver import otlp_receiver

pytestmark = pytest.mark.integration

TOKEN = "hunter2"
HEADER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
INTERNAL, PRODUCER, CONSUMER = 1, 4, 5
NOW_NS = time.time_ns()
STAGES = {"decode": (NOW_NS, NOW_NS + 2_000_000), "infer": (NOW_NS + 3_000_000, NOW_NS + 9_000_000)}


def settings_for(url: str) -> TracingSettings:
    return TracingSettings(otlp_endpoint=SecretStr(url))


def test_a_frame_is_exported_with_its_stages_as_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-api-key={TOKEN}")
    with otlp_receiver() as receiver, open_tracer(settings_for(f"{receiver.url}/"), "consumer") as tracer:
        assert tracer is not None
        published = tracer.frame(HEADER, STAGES, {"messaging.kafka.offset": 7, "framematch.camera": "till-1"})
    frame, decode, infer = receiver.spans
    assert (frame.trace_id, frame.parent_id) == (HEADER[3:35], HEADER[36:52])
    assert published == f"00-{frame.trace_id}-{frame.span_id}-01"
    assert (frame.name, frame.kind, frame.service) == ("framematch consume", CONSUMER, "framematch-consumer")
    assert (frame.started_ns, frame.ended_ns) == (NOW_NS, NOW_NS + 9_000_000)
    assert frame.attributes == {"messaging.kafka.offset": 7, "framematch.camera": "till-1"}
    assert {span.name: (span.started_ns, span.ended_ns) for span in (decode, infer)} == STAGES
    assert {(span.trace_id, span.parent_id, span.kind) for span in (decode, infer)} == {
        (frame.trace_id, frame.span_id, INTERNAL)
    }
    assert receiver.headers[0]["x-api-key"] == TOKEN


def test_opentelemetrys_variable_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-7")
    with otlp_receiver() as receiver, open_tracer(settings_for(receiver.url), "edge") as tracer:
        assert tracer is not None
        tracer.frame(None, STAGES, {})
    assert {span.service for span in receiver.spans} == {"shop-7"}


def test_an_unreachable_receiver_loses_only_the_spans(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer {TOKEN}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    configure_logging("info", "json")
    with otlp_receiver() as gone:
        pass
    url = gone.url.replace("http://", f"http://user:{TOKEN}@")
    with open_tracer(settings_for(url), "edge") as tracer:
        assert tracer is not None
        for _ in range(3_000):  # more than fit in the queue
            assert tracer.frame(HEADER, STAGES, {}) != HEADER
    log = capsys.readouterr().err
    assert "tracing_started" in log
    assert "Failed to export" in log
    assert TOKEN not in log


def test_a_receiver_that_never_answers_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(otlp, "_FLUSH_S", 0.2)
    configure_logging("info", "json")
    with otlp_receiver(silent=True) as receiver:
        with open_tracer(settings_for(receiver.url), "edge") as tracer:
            assert tracer is not None
            tracer.frame(HEADER, STAGES, {})
        assert receiver.spans == []
    assert "spans_given_up" in [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]


def test_the_edge_exports_the_roots_of_the_traces_that_its_headers_mark_as_sampled(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    prefix, images = new_prefix(), write_images(tmp_path / "images", 30)
    started_ns = time.time_ns()
    with otlp_receiver() as receiver, edge_service(
        tmp_path, kafka.bootstrap_servers, "--camera", f"shelf={images}", "--fps", "50",
        FRAMEMATCH_KAFKA__TOPIC_PREFIX=prefix, FRAMEMATCH_TRACING__SAMPLE_RATIO="0.5",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    ) as service:  # fmt: skip
        assert service.exit_code() == 0
    records = read_topic(kafka.bootstrap_servers, f"{prefix}.frames")
    frames = {
        str(frame.traceparent): frame for frame in (parse_frame(record.key, record.headers) for record in records)
    }
    roots = {f"00-{root.trace_id}-{root.span_id}-01": root for root in receiver.named("framematch capture")}
    assert 0 < len(roots) < 30
    assert sorted(roots) == sorted(header for header in frames if header.endswith("01"))
    for header, root in roots.items():
        assert (root.kind, root.parent_id, root.service) == (PRODUCER, "", "framematch-edge")
        assert root.attributes["framematch.frame.id"] == frames[header].id
        assert root.attributes["messaging.destination.name"] == f"{prefix}.frames"
        beneath = [span for span in receiver.spans if span.parent_id == root.span_id]
        encode, publish = sorted(beneath, key=lambda span: span.started_ns)
        assert (encode.name, publish.name) == ("encode", "publish")
        assert started_ns < encode.started_ns == root.started_ns < encode.ended_ns <= publish.started_ns
        assert publish.started_ns < publish.ended_ns == root.ended_ns < time.time_ns()


def test_without_tracing_opentelemetry_is_not_loaded() -> None:
    program = (
        "import sys, framematch.core.tracing; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
