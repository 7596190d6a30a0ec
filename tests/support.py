"""What tests share: waiting for a condition with a deadline, in place of sleeps.

Import it as `from tests.support import wait_until`: `tests` is a package, pytest runs from the repository's root
(`python -m pytest`), and an editable install puts the root on the path too. The folders below need no `__init__.py`.
"""

import asyncio
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


def _late(message: str, timeout_s: float) -> str:
    return f"{message or 'the condition'}: not so within {timeout_s:g} s"
