"""The cache of downloaded and built programs: complete or absent, built once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framematch.core.errors import FramematchError
from framematch.stack.cache import cached_folder, digest_of, run_tool


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_CACHE_DIR", str(tmp_path))


def silent(_line: str) -> None:
    """Report nothing."""


def write_program(folder: Path) -> None:
    """A build of one file."""
    (folder / "program").write_text("built")


def test_a_folder_is_built_once_and_found_again() -> None:
    said: list[str] = []
    for _ in range(2):
        folder = cached_folder("tool", "1", write_program, report=said.append, note="fetching it")
    assert (folder / "program").read_text() == "built"
    assert said == ["tool: fetching it"]


def test_a_failed_build_leaves_no_folder_and_can_be_repeated(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_program(folder)
        raise FramematchError("no network")

    with pytest.raises(FramematchError, match="no network"):
        cached_folder("tool", "1", fail, report=silent, note="")
    assert [path.name for path in tmp_path.iterdir()] == ["tool-1.lock"]
    assert cached_folder("tool", "1", write_program, report=silent, note="").is_dir()


def test_of_two_concurrent_builds_the_second_waits_for_the_first() -> None:
    builds: list[Path] = []
    waits = threading.Event()

    def build_until_someone_waits(folder: Path) -> None:
        builds.append(folder)
        assert waits.wait(timeout=10)

    def report(line: str) -> None:
        if "another process" in line:
            waits.set()

    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(cached_folder, "tool", "1", build_until_someone_waits, report=report, note="") for _ in range(2)
        ]
        assert asked[0].result() == asked[1].result()
    assert len(builds) == 1


def test_a_digest_depends_on_the_boundaries_of_its_parts() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")


def test_the_error_of_a_failed_tool_has_its_last_lines() -> None:
    with pytest.raises(FramematchError) as caught:
        run_tool(["sh", "-c", "echo no space left; exit 3"], what="building it")
    assert caught.value.message == "building it failed: sh ended with code 3\nno space left"
