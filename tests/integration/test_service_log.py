"""Every line on stderr of a service with a JSON log is a JSON event, whoever wrote it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framematch.core.redact import HIDDEN

pytestmark = pytest.mark.integration


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """All lines of stderr."""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_whatever_is_written_to_stderr_is_an_event_without_secrets() -> None:
    done = run("tests.integration.stderr_program", "writes")
    found = events(done)
    assert done.returncode == 0
    assert "canary" not in done.stderr
    names = [event["event"] for event in found]
    assert names[0] == "service_started"
    assert names.count("error_uncaught") == 2
    raw = "\n".join(event["text"] for event in found if event["event"] == "output_unstructured")
    for words in (
        "raw words\nin two lines, rtsp://***@10.0.0.5/1", "Corrupt JPEG data", "printed", "ZeroDivisionError",
        r"\xff not UTF-8, without an end",
    ):  # fmt: skip
        assert words in raw
    exceptions = "".join(event.get("exception", "") for event in found)
    assert exceptions.count(f"OSError: cannot open rtsp://{HIDDEN}@10.0.0.5/1") >= 2
    assert "ValueError: nobody catches this" in exceptions
    assert any("UserWarning: old" in name for name in names)


def test_an_error_that_ends_a_service_is_its_last_event() -> None:
    done = run("tests.integration.stderr_program", "ends")
    last = events(done)[-1]
    assert (done.returncode, last["event"], last["hint"]) == (1, "service_failed", "Do it")
    assert last["error"] == "not done with rtsp://***@10.0.0.5/1"


def test_a_bug_that_ends_a_service_is_an_event_too() -> None:
    done = run("tests.integration.stderr_program", "has a bug", LOG_LEVEL="debug")
    found = {event["event"]: event for event in events(done)}
    assert (done.returncode, set(found)) == (70, {"output_unstructured", "service_failed"})
    assert "in fail\n" in found["output_unstructured"]["text"]  # the traceback, which LOG_LEVEL=debug asks for
    assert found["service_failed"]["error"] == "this is a bug: OSError: cannot open rtsp://***@10.0.0.5/1"


def test_a_crash_in_c_code_reaches_the_operator() -> None:
    done = run("tests.integration.stderr_program", "crashes")
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.startswith("Fatal Python error: Segmentation fault")


def test_an_edge_without_a_broker_ends_with_an_event(tmp_path: Path, dead_address: str) -> None:
    (tmp_path / "picture.jpg").write_bytes(b"for the folder of images")
    done = run("framematch", "edge", "--camera", f"till-1={tmp_path}", KAFKA_BOOTSTRAP_SERVERS=dead_address)
    last = events(done)[-1]
    assert (done.returncode, last["event"], last["service"]) == (1, "service_failed", "edge")
