"""One worker process: runs a service, reports why it ended, and ends when its parent is gone."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.resource_sharer import DupFd
from multiprocessing.resource_tracker import ensure_running
from types import TracebackType
from typing import Self

from framematch.core.errors import FramematchError
from framematch.core.lifecycle import run_service
from framematch.core.log_topic import published_log
from framematch.core.logging import configure_logging, is_json, log_descriptor, log_to
from framematch.core.redact import run_redacted
from framematch.core.settings import Settings
from framematch.core.stderr import log_uncaught, open_log

Service = Callable[[Settings, asyncio.Event], Awaitable[None]]
"""Runs until the event is set, or its work is done. A module-level function, or a `partial` of one with arguments that
can be pickled, so that the new process can import it."""

_ORPHAN_GRACE_S = 15.0  # beyond the shutdown deadline, for a worker whose parent can no longer kill it


@dataclass(frozen=True)
class ExitStatus:
    """How a worker ended: exit code (negative for a signal, as in `multiprocessing`), reason, and what to do."""

    exit_code: int
    reason: str
    hint: str = ""


class WorkerProcess:
    """A process with a name: started by the constructor, gone after the `with` block.

    Its log lines have the fields of `log_context`.

    The settings are sent through a pipe, so no secret is in the process list. When this process dies, even by SIGKILL,
    the worker shuts down as after a SIGTERM.
    """

    def __init__(self, name: str, service: Service, settings: Settings, log_context: Mapping[str, str]) -> None:
        context = get_context("spawn")  # inherits none of the parent's threads, files or memory
        self._exit_report, sender = context.Pipe(duplex=False)
        arguments = (_main, service, settings, dict(log_context), sender, DupFd(log_descriptor()))
        self._process = context.Process(target=run_redacted, args=arguments, name=name)
        with _sigint_blocked():
            self._process.start()
        sender.close()
        self._exit_status: ExitStatus | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._exit_report.close()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    def terminate(self) -> None:
        """Send SIGTERM, and return at once."""
        self._process.terminate()

    async def wait(self) -> ExitStatus:
        """Wait for its end. May be called again afterwards, but not twice at a time."""
        if self._exit_status is None:
            await self._wait_for_sentinel()
            self._exit_status = self._read_exit_status()
        return self._exit_status

    async def _wait_for_sentinel(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()

    def _read_exit_status(self) -> ExitStatus:
        code = self._process.exitcode or 0  # None only before `join`
        try:
            return self._exit_report.recv() if self._exit_report.poll() else _unreported(code)
        except EOFError:
            return _unreported(code)


def _unreported(code: int) -> ExitStatus:
    """The status of a process that ended without a report."""
    if code >= 0:
        return ExitStatus(code, f"exit code {code}")
    hint = "Often the kernel, for want of memory" if -code == signal.SIGKILL else ""
    return ExitStatus(code, f"signal {-code} ({signal.strsignal(-code)})", hint)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Processes started in the block never get SIGINT: a terminal sends Ctrl-C to all, and the parent forwards it."""
    ensure_running()  # the resource tracker's own start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _main(
    service: Service, settings: Settings, log_context: dict[str, str], exit_report: Connection, log_output: DupFd
) -> None:
    """The main function of the worker process.

    It logs where its parent does. The parent reads what else is written to stderr, also when this process crashes.
    """
    deadline_s = settings.shutdown_deadline_s
    threading.Thread(target=_end_with_parent, args=(deadline_s,), name="parent-watch", daemon=True).start()
    configure_logging(settings.log.level, settings.log.format, **log_context)
    log_to(open_log(log_output.detach()))
    if is_json(settings.log.format):
        log_uncaught()
    try:
        with published_log(settings, "consumer"):
            # A signal to all processes, as systemd sends it, comes once more from the parent, which kills if need be.
            run_service(partial(service, settings), shutdown_deadline_s=deadline_s, second_signal_cancels=False)
    except FramematchError as error:
        exit_report.send(ExitStatus(error.exit_code, error.message, error.hint))
        sys.exit(error.exit_code)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # too late: Python's end would let it change the exit code


def _end_with_parent(deadline_s: float) -> None:
    """Send SIGTERM to this process when its parent is gone, and SIGKILL after the deadline."""
    if (parent := parent_process()) is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(deadline_s + _ORPHAN_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
