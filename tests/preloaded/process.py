"""A process that the server forks, with what the tests use of `subprocess.Popen`; and that of a service."""

import atexit
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Self

import msgspec

from framematch.stack.process import Command, Process, ServerProcess
from tests.preloaded.server import NUMBER_BYTES, Request

_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 90.0
_COVERAGE = "COVERAGE_PROCESS_CONFIG"  # coverage begins when an interpreter starts, so it does not trace what is forked


class PreloadedProcess:
    """`python -m MODULE ARGUMENT…`, with the open files `streams` as stdin, stdout and stderr. Waits at its end."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        folder: Path | None = None,
        own_group: bool = False,
    ) -> None:
        request = Request(module, list(arguments), dict(environment), str(folder or Path.cwd()), own_group)
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(_server(), [b"."], [theirs.fileno()])
        socket.send_fds(self._connection, [msgspec.json.encode(request)], list(streams))
        self.pid = self._number()
        self.returncode: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def poll(self) -> int | None:
        """Its exit code if it has ended; negative for a signal."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(self._number())
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        if answer := self._connection.recv(NUMBER_BYTES):
            return int.from_bytes(answer)
        raise RuntimeError("the server of preloaded processes has ended")


class PreloadedServer(ServerProcess):
    """A service of framematch, which is forked."""

    def _launch(self, command: Command, log: BinaryIO) -> Process:
        environment = {**os.environ, **command.environment}
        python, module_option, module, *arguments = command.arguments
        if _COVERAGE in environment:
            return super()._launch(command, log)
        assert (python, module_option) == (sys.executable, "-m")
        with Path(os.devnull).open() as nothing:
            streams = (nothing.fileno(), log.fileno(), log.fileno())
            return PreloadedProcess(module, arguments, environment=environment, streams=streams, own_group=True)


def start(
    *arguments: str, environment: Mapping[str, str], stdin: int, stdout: int, stderr: int, folder: Path | None = None
) -> "subprocess.Popen[bytes] | PreloadedProcess":
    """Start `framematch …` with these open files."""
    if _COVERAGE in environment:
        return start_interpreter(
            *arguments, environment=environment, stdin=stdin, stdout=stdout, stderr=stderr, folder=folder
        )
    return PreloadedProcess(
        "framematch", arguments, environment=environment, streams=(stdin, stdout, stderr), folder=folder
    )


def start_interpreter(
    *arguments: str, environment: Mapping[str, str], stdin: int, stdout: int, stderr: int, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """The same as a user starts it: only then the command line that others see is that of these arguments."""
    command = [sys.executable, "-m", "framematch", *arguments]
    return subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, cwd=folder)


def run(
    *arguments: str, environment: Mapping[str, str], answer: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `framematch …` to its end without a terminal; `answer` is its input."""
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        stdin.write(answer)
        stdin.seek(0)
        files = {"stdin": stdin.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        with start(*arguments, environment=environment, folder=folder, **files) as process:
            try:
                code = process.wait(_TIMEOUT_S)
            finally:
                process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(["framematch", *arguments], code, out.read(), err.read())


@cache
def _server() -> socket.socket:
    """The server of this process of the tests; it ends when this end of its stdin is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name != _COVERAGE}
    command = [sys.executable, "-m", "tests.preloaded.server"]
    with theirs:
        process = subprocess.Popen(command, stdin=theirs.fileno(), cwd=_ROOT, env=environment)

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours
