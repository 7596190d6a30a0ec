"""Imports the services, and forks a process for each request: `python -m tests.preloaded.server`.

Its stdin is a Unix socket, through which it gets another one for each request. On that it receives a `Request` with the
process's stdin, stdout and stderr; it answers with the process id, and with the status of `waitpid` at its end.
"""

import ctypes
import gc
import importlib
import os
import random
import runpy
import selectors
import signal
import socket
import sys
from contextlib import suppress

import msgspec

from framematch.stack.launcher import PR_SET_PDEATHSIG

MODULES = (
    "consumers.service",
    "edge.pipeline",
    "framematch.api.service",
    "framematch.archive.service",
    "framematch.catalog.building.served_build",
    "framematch.catalog.importing.importer",
    "framematch.cli.app",
)
MAX_REQUEST_BYTES = 200_000  # a Unix socket's buffer has this size at least
NUMBER_BYTES = 8


class Request(msgspec.Struct, frozen=True):
    """A module to run, as `python -m` does, and what a process inherits from its starter."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    own_group: bool


def serve(requests: socket.socket) -> tuple[Request, list[int]]:
    """Fork for each request, until the tests end; returns in each new process, with its standard streams."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is not requests:
                    waiting.unregister(key.fileobj)
                    _report_end(key.fd, *key.data)
                    continue
                _, sockets, *_ = socket.recv_fds(requests, 1, 1)
                if not sockets:  # the tests have ended
                    os._exit(0)
                connection = socket.socket(fileno=sockets[0])
                content, streams, *_ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
                request = msgspec.json.decode(content, type=Request)
                pid = os.fork()
                if pid == 0:
                    if request.own_group:
                        os.setpgid(0, 0)
                    _forget(waiting)
                    connection.close()
                    requests.close()
                    return request, streams
                for stream in streams:
                    os.close(stream)
                if request.own_group:  # before the answer, as the tests may signal the group at once
                    _to_own_group(pid)
                connection.send(pid.to_bytes(NUMBER_BYTES))
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


def _to_own_group(pid: int) -> None:
    with suppress(PermissionError, ProcessLookupError):  # it has done so itself, or has ended
        os.setpgid(pid, pid)


def _report_end(pidfd: int, pid: int, connection: socket.socket) -> None:
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # nobody waits for it any more
        connection.send(status.to_bytes(NUMBER_BYTES))
    connection.close()


def _forget(waiting: selectors.BaseSelector) -> None:
    """Close what a new process has of its siblings."""
    for key in [key for key in waiting.get_map().values() if key.data]:
        os.close(key.fd)
        key.data[1].close()


def become(request: Request, streams: list[int]) -> None:
    """Let this process be as if it had been started for the request."""
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit("prctl failed")
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv = [request.module, *request.arguments]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # open until the end
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115  # too
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115  # too
    random.seed()


def main() -> None:
    """Serve; in each new process, run what is asked for."""
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # the processes share this memory
    request, streams = serve(socket.socket(fileno=os.dup(0)))
    become(request, streams)
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
