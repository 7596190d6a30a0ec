"""Log lines contain no secrets, and no library floods the log."""

import io
import json
import logging
import sys

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from framematch.core.logging import configure_logging
from framematch.core.redact import redact, redact_url


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("rtsp://user:pass@10.0.0.5/stream1", "rtsp://***@10.0.0.5/stream1"),
        ("open rtsp://user:p@ss/w:rd@host/1 failed", "open rtsp://***@host/1 failed"),
        ("mongodb+srv://u:p@h/db?authSource=admin", "mongodb+srv://***@h/db?authSource=admin"),
        ("http://cam/stream?user=a&password=pass&fps=5", "http://cam/stream?user=a&password=***&fps=5"),
        ("http://cam/stream?access_token=pass", "http://cam/stream?access_token=***"),
        ("rtsp://10.0.0.5/stream1", "rtsp://10.0.0.5/stream1"),
        ("nothing to hide: a@b", "nothing to hide: a@b"),
    ],
)
def test_credentials_in_a_url_are_hidden(text: str, clean: str) -> None:
    assert redact_url(text) == clean


@given(st.text(alphabet=st.characters(exclude_characters="\"'<>", exclude_categories=["Z", "C"]), min_size=1))
def test_a_password_with_any_characters_is_hidden(password: str) -> None:
    canary = f"canary{password}"
    assert canary not in redact_url(f"rtsp://user:{canary}@10.0.0.5/1")


def test_values_whose_name_tells_a_secret_are_hidden_at_any_depth() -> None:
    assert redact({"kafka": {"sasl_password": "x", "hosts": ["http://u:x@h"]}, "api_key": "x"}) == {
        "kafka": {"sasl_password": "***", "hosts": ["http://***@h"]},
        "api_key": "***",
    }


def test_a_log_line_is_json_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", "json", service="edge")
    structlog.get_logger().info("camera_opened", camera="till-1", source="rtsp://u:canary@h/1", token="canary")
    error = OSError("cannot open rtsp://u:canary@h/1")
    structlog.get_logger().error("camera_failed", exc_info=error)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["camera_opened", "camera_failed"]
    assert lines[0]["service"] == "edge"
    assert lines[0]["source"] == "rtsp://***@h/1"
    assert "canary" not in stream.getvalue()


def test_a_library_that_floods_the_log_is_logged_once_with_a_count_later(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("framematch.core.logging.time.monotonic", lambda: clock[0])
    configure_logging("info", "json", service="edge")
    for node in range(50):
        logging.getLogger("aiokafka").error("Unable to connect to node %s", node)
    logging.getLogger("aiokafka").error("Something else")
    clock[0] = 11.0
    logging.getLogger("aiokafka").error("Unable to connect to node %s", 99)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {(line["event"], line["level"]) for line in lines} == {("kafka_client_reported", "warning")}
    assert [(line["message"], line["repeated"]) for line in lines] == [
        ("Unable to connect to node 0", 0),
        ("Something else", 0),
        ("Unable to connect to node 99", 49),
    ]


def test_a_bug_in_a_kafka_client_stays_an_error_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", "json", service="consumer")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("aiokafka.consumer.fetcher").exception("Unexpected error in fetcher routine")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == ("Unexpected error in fetcher routine", "error")
    assert "ZeroDivisionError" in line["exception"]


def test_a_log_at_a_terminal_cannot_control_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging("info", "console")
    evil = "a\x1b[31mb\x9b\u202e"
    structlog.get_logger().error("it_failed", reason=evil, drops={evil: [evil]}, exc_info=ValueError(evil))
    assert not any(character in written.getvalue() for character in ("\x1b[31mb", "\x9b", "\u202e"))
