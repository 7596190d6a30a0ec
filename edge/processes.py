"""Starts and ends the processes of cameras: forked from one that has all libraries loaded, in about 6 ms each."""

import asyncio
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.resource_sharer import DupFd
from typing import Self

from edge.link.shared_buffer import SharedBuffer
from edge.worker.run import WorkerConfig, run_worker
from framematch.core.redact import run_redacted

# multiprocessing runs the script `framematch` again in each process, up to its main guard: `framematch/__main__.py`
# therefore imports next to nothing at its top.
_PRELOADED = ["edge.worker.preloaded"]

WorkerMain = Callable[[socket.socket, DupFd, WorkerConfig], None]


class CameraProcesses:
    """A context in which processes can be started. Whoever starts a process ends it.

    A process has its end of the channel and the shared buffer, and no other memory or files of the service. When the
    service dies, even by SIGKILL, its processes see the channel close and end.
    """

    def __init__(self, main: WorkerMain = run_worker) -> None:
        self._main = main
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        # One thread, because multiprocessing's bookkeeping is not thread-safe, and a start may take a moment.
        self._thread = ThreadPoolExecutor(1, "camera-processes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.shutdown()

    async def start(self, peer: socket.socket, buffer: SharedBuffer, config: WorkerConfig) -> ForkServerProcess:
        """Start a process that gets `config`, its end of the channel, and the buffer for its counts and JPEGs."""

        def start() -> ForkServerProcess:
            process = self._context.Process(
                target=run_redacted,
                args=(self._main, peer, DupFd(buffer.descriptor), config),
                name=f"camera-{config.camera.id}",
                daemon=True,
            )
            process.start()
            return process

        starting = asyncio.get_running_loop().run_in_executor(self._thread, start)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self.end(await starting)  # the caller never gets it
            raise

    async def end(self, process: ForkServerProcess, *, wait_s: float = 0.0) -> str | None:
        """Wait `wait_s` for the process to end, then SIGKILL it. Returns the signal that had killed it, if any.

        The event loop waits, not the one thread: a process that is slow to end must not hold up the others.
        """
        killed = not await _has_ended(process, wait_s)
        if killed:
            process.kill()
            await _has_ended(process, None)

        def close() -> str | None:
            process.join()
            code = process.exitcode
            process.close()
            return None if killed or code is None or code >= 0 else signal.Signals(-code).name

        return await asyncio.get_running_loop().run_in_executor(self._thread, close)


async def _has_ended(process: ForkServerProcess, wait_s: float | None) -> bool:
    """Whether a process ends within this time; None: however long it takes."""
    if wait([process.sentinel], 0):
        return True
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        async with asyncio.timeout(wait_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process.sentinel)
    return True
