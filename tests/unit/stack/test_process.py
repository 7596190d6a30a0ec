"""Secrets in the arguments of a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framematch.stack.process import Command, ServerProcess
from tests.support import wait_until

SECRET = "canary-in-the-arguments"
PROGRAM = ("sh", "-c", "sleep 600 & wait", "name", f"--key={SECRET}", f"--other=x:{SECRET}", "--last")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    started = ServerProcess(Command(PROGRAM), tmp_path / "log")
    yield started
    started.kill()


def arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def test_a_secret_is_removed_from_the_arguments_and_the_rest_stays(process: ServerProcess) -> None:
    wait_until(lambda: arguments(process.pid)[:1] == ["sh"], message="the launcher is replaced by the program")
    before = arguments(process.pid)
    assert sum(SECRET in argument for argument in before) == 2
    process.hide_argument(SECRET)
    assert arguments(process.pid) == [argument.replace(SECRET, "*" * len(SECRET)) for argument in before]
    assert process.running


def test_nothing_is_hidden_after_the_end(process: ServerProcess) -> None:
    process.kill()
    process.hide_argument(SECRET)


def test_a_system_that_forbids_it_is_no_error(process: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until(lambda: arguments(process.pid)[:1] == ["sh"], message="the launcher is replaced by the program")
    read = Path.open

    def without_memory(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "mem":
            raise PermissionError
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", without_memory)
    process.hide_argument(SECRET)
    assert SECRET in arguments(process.pid)[-2]
