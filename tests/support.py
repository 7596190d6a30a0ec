"""What tests share: waiting for a condition with a deadline, in place of sleeps, and a process that is halted.

Import it as `from tests.support import wait_until`: `tests` is a package, pytest runs from the repository's root
(`python -m pytest`), and an editable install puts the root on the path too. The folders below need no `__init__.py`.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
_POLL_S = 0.02


def wait_until(condition: Callable[[], object], *, timeout_s: float = 30.0, message: str = "") -> None:
    """Return once `condition()` is true; fail the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(_late(message, timeout_s))
        time.sleep(_POLL_S)


async def eventually(
    condition: Callable[[], object | Awaitable[object]], *, timeout_s: float = 30.0, message: str = ""
) -> None:
    """The same without blocking the event loop; `condition` may be a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if await result if isinstance(result, Awaitable) else result:
            return
        if time.monotonic() > deadline:
            raise AssertionError(_late(message, timeout_s))
        await asyncio.sleep(_POLL_S)


def halt(pid: int) -> None:
    """SIGSTOP, and the process does nothing from here on: its threads would run on for a moment after the signal."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _thread_states(pid) == {"T"}, message=f"process {pid} is halted")


def go_on(pid: int) -> None:
    """SIGCONT: it goes on as if no time had passed."""
    os.kill(pid, signal.SIGCONT)


def _thread_states(pid: int) -> set[str]:
    # The state stands behind the name, which is in brackets and may hold anything.
    return {file.read_text().rpartition(") ")[2][0] for file in Path(f"/proc/{pid}/task").glob("*/stat")}


def _late(message: str, timeout_s: float) -> str:
    return f"{message or 'the condition'}: not so within {timeout_s:g} s"
