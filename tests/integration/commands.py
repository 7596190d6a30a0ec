"""Runs `framematch …` as a process, also at a terminal, for the tests of commands."""

import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.preloaded.process import run, start


def framematch(environment: Mapping[str, str], *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end without a terminal; `answer` is its input."""
    return run(*arguments, environment={**os.environ, **environment}, answer=answer)


@contextmanager
def running(environment: Mapping[str, str], *arguments: str, stdout: int) -> Iterator[None]:
    """Run a command inside the context; at the end Ctrl-C must end it with code 0."""
    with (
        Path(os.devnull).open("r+") as nothing,
        start(
            *arguments, environment={**os.environ, **environment},
            stdin=nothing.fileno(), stdout=stdout, stderr=nothing.fileno(),
        ) as process,
    ):  # fmt: skip
        try:
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


class Screen:
    """A terminal for one program, and its output."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def shows(self, *texts: str) -> bool:
        """Whether the last complete table has all of these; each table starts with the column `Camera`."""
        tables = self._shown.decode(errors="replace").split("Camera")
        return any(all(text in table for text in texts) for table in tables[-2:])

    def close(self) -> None:
        os.close(self.theirs)  # the last descriptor: this ends reading
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        with suppress(OSError):
            while piece := os.read(self._ours, 65_536):
                self._shown += piece


@contextmanager
def screen() -> Iterator[Screen]:
    """A terminal inside the context."""
    terminal = Screen()
    try:
        yield terminal
    finally:
        terminal.close()


def at_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program at a wide terminal."""
    return {**environment, "COLUMNS": "200", "LINES": "50", "TERM": "xterm"}
