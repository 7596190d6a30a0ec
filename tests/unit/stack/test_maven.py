"""Downloads of jars by Maven."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framematch.stack import maven
from framematch.stack.maven import maven_jars


def test_maven_never_runs_concurrently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, overlaps = threading.Lock(), threading.Event()

    def run_tool(*_command: object, **_options: object) -> str:
        if not at_work.acquire(timeout=0.05):
            overlaps.set()
            return ""
        overlaps.wait(0.2)  # long enough for the other one to arrive
        at_work.release()
        return ""

    monkeypatch.setenv("FRAMEMATCH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(maven, "maven", lambda _report: "mvn")
    monkeypatch.setattr(maven, "run_tool", run_tool)
    (tmp_path / "pom.xml").touch()
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(maven_jars, name, tmp_path / "pom.xml", report=lambda _line: None, note="") for name in "ab"
        ]
    assert all(folder.result().is_dir() for folder in asked)
    assert not overlaps.is_set()
