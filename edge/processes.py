"""Starts and ends the processes of cameras: forked from one that has all libraries loaded, in about 6 ms each."""

import asyncio
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from typing import Any, Self

from edge.link.area import SharedArea
from edge.worker.run import Assignment, run_worker
from framematch.core.redact import run_redacted

# multiprocessing runs the script `framematch` again in each process, up to its main guard: `framematch/__main__.py`
# therefore imports next to nothing at its top.
_PRELOADED = ["edge.worker.run"]

Work = Callable[[socket.socket, Any, Assignment], None]  # Any: multiprocessing names no type for a sent descriptor


class CameraProcesses:
    """A context: in it processes can be started. Those that still run at its end are for their starters to end.

    A process holds its end of the line alone, and nothing of the service's memory or files. When the service dies, even
    by SIGKILL, its processes see the line close and end.
    """

    def __init__(self, work: Work = run_worker) -> None:
        self._work = work
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        # One thread, because multiprocessing's own bookkeeping is not made for several, and a start may take a moment.
        self._thread = ThreadPoolExecutor(1, "camera-processes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.shutdown()

    async def start(self, line: socket.socket, area: SharedArea, assignment: Assignment) -> ForkServerProcess:
        """Start a process that does `assignment`, with its end of the line and the memory that it counts in."""

        def start() -> ForkServerProcess:
            process = self._context.Process(
                target=run_redacted,
                args=(self._work, line, DupFd(area.descriptor), assignment),
                name=f"camera-{assignment.camera.id}",
                daemon=True,
            )
            process.start()
            return process

        starting = asyncio.get_running_loop().run_in_executor(self._thread, start)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self.end(await starting)  # nobody else knows of it
            raise

    async def end(self, process: ForkServerProcess, *, wait_s: float = 0.0) -> str | None:
        """SIGKILL the process if it still runs after `wait_s`; the name of the signal that had ended it, if one had."""

        def end() -> str | None:
            process.join(wait_s)
            died = process.exitcode
            process.kill()
            process.join()
            process.close()
            return signal.Signals(-died).name if died is not None and died < 0 else None

        return await asyncio.get_running_loop().run_in_executor(self._thread, end)
