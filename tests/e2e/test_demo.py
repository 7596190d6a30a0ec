"""The demo, as `make demo` runs it: it prints a verdict in JSON, and leaves no process running."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("untraced_processes")

ROOT = Path(__file__).parents[2]
SECONDS = 10  # one length: the feeds of a length are rendered once


def descendants(pid: int) -> set[int]:
    """The ids of all running descendants of the process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


def demo(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo.run", "--seconds", str(SECONDS)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(240)
def test_every_frame_of_the_rtsp_cameras_becomes_a_match_event(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    figures = json.loads(output.splitlines()[-1])
    assert figures["frames_lost"] == 0
    assert figures["frames_captured"] == figures["frames_published"] + figures["frames_dropped"]
    assert figures["frames_matched"] == figures["frames_published"] > 20
    assert figures["frames_judged"] > 0
    assert figures["latency_p50_ms"] > 0
    assert figures["rest_agrees"] is True
    assert list(tmp_path.glob("framematch-demo-*")) == []


@pytest.mark.timeout(240)
def test_ctrl_c_stops_everything_that_the_demo_started(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        for line in lines:
            if "Playing" in line:
                break
        started = descendants(process.pid)
        assert len(started) >= 10, "four servers, two cameras, edge, consumer, API and archive"
        process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    assert process.returncode == 130, output
    wait_until(lambda: not [pid for pid in started if Path(f"/proc/{pid}").exists()], message="all processes gone")
    assert list(tmp_path.glob("framematch-demo-*")) == []
