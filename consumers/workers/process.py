"""One worker: a process of its own that runs a service, says why it ended, and goes when its parent is gone."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.resource_tracker import ensure_running
from types import TracebackType
from typing import Self

from framematch.core.errors import FramematchError
from framematch.core.lifecycle import run_service
from framematch.core.logging import configure_logging
from framematch.core.redact import run_redacted
from framematch.core.settings import Settings

Work = Callable[[Settings, asyncio.Event], Awaitable[None]]
"""A service: a function of a module, so that another process finds it."""

_ORPHAN_S = 15.0  # beyond the shutdown deadline, for a worker that nobody is left to kill


@dataclass(frozen=True)
class Ending:
    """How a worker ended: its exit code (negative for a signal, as in `multiprocessing`), why, and what to do."""

    exit_code: int
    reason: str
    hint: str = ""


class WorkerProcess:
    """A context: the process of worker `number` is started when this is made, and is gone after the block.

    It gets its settings as they are, through a pipe: none of them stands in its arguments or is read a second time.
    When this process dies, even by SIGKILL, the worker finishes what is in flight as after a SIGTERM, and ends.
    """

    def __init__(self, number: int, work: Work, settings: Settings) -> None:
        context = get_context("spawn")  # nothing of the parent's threads, files or memory goes along
        self._last_words, sender = context.Pipe(duplex=False)
        arguments = (_main, number, work, settings, sender)
        self._process = context.Process(target=run_redacted, args=arguments, name=f"worker-{number}")
        with _interrupts_blocked():
            self._process.start()
        sender.close()
        self._ending: Ending | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._last_words.close()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    def terminate(self) -> None:
        """Tell it to finish, and return at once."""
        self._process.terminate()

    async def ended(self) -> Ending:
        """Return when it has ended, and how; again for who asks later, not for two at a time."""
        if self._ending is None:
            await self._gone()
            self._ending = self._how()
        return self._ending

    async def _gone(self) -> None:
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()

    def _how(self) -> Ending:
        code = self._process.exitcode or 0  # None is for one that has not been waited for
        try:
            return self._last_words.recv() if self._last_words.poll() else _silent(code)
        except EOFError:
            return _silent(code)


def _silent(code: int) -> Ending:
    """The ending of a process that had no time for last words."""
    if code >= 0:
        return Ending(code, f"exit code {code}")
    hint = "Often the kernel, for want of memory" if -code == signal.SIGKILL else ""
    return Ending(code, f"signal {-code} ({signal.strsignal(-code)})", hint)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What is started in the block never sees SIGINT: Ctrl-C goes to all at a terminal, and the parent passes it on."""
    ensure_running()  # or the first start does, and lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _main(number: int, work: Work, settings: Settings, last_words: Connection) -> None:
    """What runs in the worker."""
    deadline_s = settings.shutdown_deadline_s
    threading.Thread(target=_end_with_parent, args=(deadline_s,), name="parent-watch", daemon=True).start()
    configure_logging(settings.log.level, settings.log.format, service="consumer", worker=str(number))
    try:
        run_service(partial(work, settings), shutdown_deadline_s=deadline_s)
    except FramematchError as error:
        last_words.send(Ending(error.exit_code, error.message, error.hint))
        sys.exit(error.exit_code)


def _end_with_parent(deadline_s: float) -> None:
    """Tell this process to finish when its parent is gone, and kill it when it does not in time."""
    if (parent := parent_process()) is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(deadline_s + _ORPHAN_S)
    os.kill(os.getpid(), signal.SIGKILL)
