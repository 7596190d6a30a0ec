"""Writes to stderr in every way: `python -m tests.integration.stderr_program writes | crashes`."""

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
import warnings

import structlog

from framematch.cli.exits import exit_after
from framematch.cli.service_log import run_logged
from framematch.core.errors import CatalogError
from framematch.core.logging import configure_logging
from framematch.core.settings import LogSettings, Settings

log = structlog.get_logger()


class FailsAtItsEnd:
    """Raises where nobody can catch it."""

    def __del__(self) -> None:
        """Nobody calls it."""
        raise ValueError("nobody catches this")


def fail() -> None:
    """Raises an error that contains a secret."""
    raise OSError("cannot open rtsp://user:canary@10.0.0.5/1")


async def fail_in_tasks() -> None:
    """One error in a callback, one in a task that nobody awaits."""
    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    task = loop.create_task(asyncio.to_thread(fail))
    await asyncio.wait([task])


def write() -> None:
    """Everything but the error that ends the service."""
    log.info("service_started")
    os.write(2, b"raw words\nin two lines, rtsp://user:canary@10.0.0.5/1\n")
    ctypes.CDLL(None).dprintf(2, b"Corrupt JPEG data: 7 extraneous bytes before marker 0xd9\n")
    sys.stderr.write("printed\n")
    subprocess.run([sys.executable, "-c", "print(1 / 0)"], check=False)
    warnings.warn("old", stacklevel=1)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    FailsAtItsEnd()
    asyncio.run(fail_in_tasks())
    os.write(2, b"\xff not UTF-8, without an end")


def crash() -> None:
    """Read where there is no memory."""
    ctypes.string_at(0)


def end() -> None:
    """One of our errors."""
    raise CatalogError("not done with rtsp://user:canary@10.0.0.5/1", hint="Do it")


def main() -> None:
    """Run as a service with a JSON log."""
    configure_logging("info", "json", service="edge")
    run = {"writes": write, "crashes": crash, "ends": end, "has a bug": fail}[sys.argv[1]]
    exit_after(lambda: run_logged(Settings(log=LogSettings(format="json")), "test", run))


if __name__ == "__main__":
    main()
