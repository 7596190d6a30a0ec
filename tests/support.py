"""Helpers for tests: wait for a condition with a deadline, instead of sleeping; freeze and resume a process.

Import it as `from tests.support import wait_until`: `tests` is a package, pytest runs from the repository's root
(`python -m pytest`), and an editable install adds the root to the path too. Its subfolders need no `__init__.py`.
"""

import asyncio
import logging
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

SHARED = Path(__file__).resolve().parents[2] / "shared"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.1


def wait_until(condition: Callable[[], object], *, timeout_s: float = 30.0, message: str = "") -> None:
    """Return once `condition()` is true; fail the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    pauses_s = _pauses_s()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(_timeout_message(message, timeout_s))
        time.sleep(next(pauses_s))


async def eventually(
    condition: Callable[[], object | Awaitable[object]], *, timeout_s: float = 30.0, message: str = ""
) -> None:
    """Like `wait_until`, without blocking the event loop; `condition` may be a coroutine function."""
    deadline = time.monotonic() + timeout_s
    pauses_s = _pauses_s()
    while True:
        result = condition()
        if await result if isinstance(result, Awaitable) else result:
            return
        if time.monotonic() > deadline:
            raise AssertionError(_timeout_message(message, timeout_s))
        await asyncio.sleep(next(pauses_s))


def _pauses_s() -> Iterator[float]:
    """Short ones first: a condition may be a request to a service, and many tests share the machine."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.25, _LONGEST_PAUSE_S)


def freeze(pid: int) -> None:
    """Send SIGSTOP and return once every thread is stopped: threads may run for a moment after the signal."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _thread_states(pid) == {"T"}, message=f"process {pid} is stopped")


def resume(pid: int) -> None:
    """Send SIGCONT: the process resumes as if no time had passed."""
    os.kill(pid, signal.SIGCONT)


def _thread_states(pid: int) -> set[str]:
    # The state follows the name, which is in parentheses and may contain any character.
    return {file.read_text().rpartition(") ")[2][0] for file in Path(f"/proc/{pid}/task").glob("*/stat")}


def _timeout_message(message: str, timeout_s: float) -> str:
    return f"{message or 'the condition'}: not true within {timeout_s:g} s"


@contextmanager
def logging_restored() -> Iterator[None]:
    """Restore logging after the context: a command configures it for the process, on a stream that it closes."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Files cannot become larger inside the context, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
