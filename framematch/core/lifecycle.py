"""The lifecycle of a service: start, run until SIGTERM, finish what is in flight within a deadline."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, TypeVar

import structlog
import uvloop

from framematch.core.error_groups import describe, ungrouped_errors
from framematch.core.errors import DeadlineExceededError, FramematchError

log = structlog.get_logger()

_CANCEL_TIMEOUT_S = 15.0  # for the clean-up after a cancellation
_CANCEL_AGAIN_S = 1.0

T = TypeVar("T")
Main = Callable[[asyncio.Event], Awaitable[None]]


def run_service(
    main: Main, *, shutdown_deadline_s: float, log_crash: bool = False, second_signal_cancels: bool = True
) -> None:
    """Run `main(stop)` until it returns.

    SIGTERM and SIGINT set `stop`; `main` then takes no new records, finishes what is in flight and returns. The
    deadline cancels it, and so does a second signal, if `second_signal_cancels`. Once `main` has returned, SIGTERM
    changes nothing: the caller is to end the process. With `log_crash` an error that is a bug is logged.

    Raises:
        FramematchError: raised by `main`, without the exception groups of its task groups.
        DeadlineExceededError: `main` was still busy `shutdown_deadline_s` after the first signal.
    """
    signals = _StopSignals()
    try:
        with ungrouped_errors():
            uvloop.run(_supervise(main, shutdown_deadline_s, signals, second_signal_cancels))
    except FramematchError:
        raise
    except Exception as error:
        if log_crash:
            log.exception("service_crashed", error=describe(error))
        raise


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when one of them returns, and cancel the others; raise the error of one that failed.

    One that has lost the cancellation, see `raise_if_cancelled`, is cancelled again.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.result()


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` while the block runs, which awaits the task where it needs the result; at its end it is cancelled.

    An error of `work` is raised there, so the block decides which of several errors comes first.
    """
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # so that asyncio does not report it: an error of the block came first


def raise_if_cancelled() -> None:
    """Raise CancelledError if this task was cancelled and the call that it waited for has returned nevertheless.

    Until Python 3.12 `asyncio.wait_for`, which MongoDB's driver uses, loses a cancellation that comes together with
    the result. A loop that calls such a driver would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _StopSignals:
    """SIGTERM and SIGINT, from the start of the event loop until the process ends.

    They are not the event loop's: it gives them back to the system when it closes, and one that comes between that and
    the end of the process would kill it.
    """

    def __init__(self) -> None:
        self._on_signal: Callable[[signal.Signals], object] | None = None
        self._early: list[signal.Signals] = []
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}

    def deliver(self, on_signal: Callable[[signal.Signals], object]) -> None:
        """Call `on_signal` in the running event loop, also for the signals that came before."""
        loop = asyncio.get_running_loop()
        self._on_signal = lambda number: loop.call_soon_threadsafe(on_signal, number)
        while self._early:
            self._on_signal(self._early.pop())

    def ignore(self) -> None:
        """From now on SIGTERM does nothing, and SIGINT what it did before: it may end what hangs."""
        self._on_signal = _nothing
        signal.signal(signal.SIGINT, self._before[signal.SIGINT])

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._on_signal is None:
            self._early.append(signal.Signals(number))
        else:
            self._on_signal(signal.Signals(number))


def _nothing(_number: signal.Signals) -> None:
    pass


async def _supervise(
    main: Main, shutdown_deadline_s: float, signals: _StopSignals, second_signal_cancels: bool
) -> None:
    stop = asyncio.Event()
    task = asyncio.ensure_future(main(stop))

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            if second_signal_cancels:
                log.warning("service_cancelled", signal=number.name)
                task.cancel()
            return
        log.info("service_stopping", signal=number.name, deadline_s=shutdown_deadline_s)
        stop.set()

    signals.deliver(on_signal)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=shutdown_deadline_s)
        if not task.done():
            raise DeadlineExceededError(
                f"the service was still busy {shutdown_deadline_s:g} s after the signal to stop",
                hint="Raise shutdown_deadline_s, or see the last log lines for the cause",
            )
        if not task.cancelled():
            task.result()
    finally:
        task.cancel()
        stopped.cancel()
        await asyncio.wait({task, stopped}, timeout=_CANCEL_TIMEOUT_S)
        signals.ignore()
    log.info("service_stopped")
