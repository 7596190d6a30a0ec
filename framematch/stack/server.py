"""The base class of the local servers: prepare, start until it answers, stop, kill, restart."""

import re
import socket
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from framematch.core.errors import FramematchError, UnavailableError
from framematch.core.local_stack import ProcessId, process_start
from framematch.stack.cache import Report
from framematch.stack.process import Command, ServerProcess

LOOPBACK = "127.0.0.1"
_POLL_S = 0.1
_LOG_TAIL_LINES = 12
_MAX_LOG_BYTES = 10_000_000  # checked at a start; one older file is kept


class ReservedPort:
    """A TCP port of 127.0.0.1 that is reserved while this object exists.

    It is reserved by a bound socket that does not listen: connections are refused, and the kernel assigns the port to
    no other program. Servers that set SO_REUSEADDR, as all of ours do, can still listen on it, also after a restart.
    `release()` frees it early.
    """

    def __init__(self) -> None:
        reservation = socket.socket()
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind((LOOPBACK, 0))
        self.number: int = reservation.getsockname()[1]
        self.release = weakref.finalize(self, reservation.close)

    @property
    def address(self) -> str:
        """The port as `host:port`."""
        return f"{LOOPBACK}:{self.number}"


def listens(address: str, timeout_s: float = 1.0) -> bool:
    """Whether a TCP connection to `host:port` is accepted: a cheap check before the real protocol call."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout_s).close()
    except OSError:
        return False
    return True


class Server(ABC):
    """A real server on 127.0.0.1. Its port and data folder stay the same over restarts.

    Its files are in `folder`, its log is `folder/NAME.log`. `install` downloads and builds, which may take minutes the
    first time; `configure` writes its files; `spawn` starts the process; `ready` makes one real protocol call. `start`
    does all of this and waits.
    """

    name: ClassVar[str]
    ready_timeout_s: ClassVar[float] = 60.0
    stop_deadline_s: ClassVar[float] = 10.0
    log_noise: ClassVar[re.Pattern[str]] = re.compile(r"\s*$|\s+at ")  # log lines to leave out of errors

    def __init__(self, folder: Path, address: str, ports: Iterable[ReservedPort] = ()) -> None:
        self.folder = folder.resolve()
        self._addresses = tuple(port.address for port in ports)
        self.address = address
        """The address for clients: `host:port`, or a URL."""
        self.log_file = self.folder / f"{self.name}.log"
        """The server's stdout and stderr, over all its starts."""
        self.process: ServerProcess | None = None
        self._log_offset = 0

    @abstractmethod
    def install(self, report: Report = print) -> None:
        """Download or build what the cache lacks. Can be called again, and from any thread.

        Raises:
            PrerequisiteError: a program that this needs is missing.
            FramematchError: a download or a build failed.
        """

    @abstractmethod
    def configure(self) -> None:
        """Write the configuration and the other files of a start into the existing `folder`; after `install`."""

    @abstractmethod
    def command(self) -> Command:
        """The program to run; after `configure`."""

    @abstractmethod
    def ping(self) -> None:
        """Make one real protocol call.

        Raises:
            UnavailableError: no proper answer within about two seconds.
        """

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running_process().pid

    @property
    def process_id(self) -> ProcessId:
        """Its last process, also after the end of that."""
        return ProcessId(self.pid, process_start(self.pid) if self.running else None)

    @property
    def exit_code(self) -> int | None:
        """None while it is running; negative for a signal, as in `subprocess`."""
        return self._running_process().exit_code

    @property
    def running(self) -> bool:
        """Whether its process is running; `ping` checks whether it also answers."""
        return self.process is not None and self.process.running

    def start(self, report: Report = print) -> None:
        """Start the server and return when it answers.

        Raises:
            PrerequisiteError: a program that it needs is missing.
            FramematchError: it ended during its start, or did not answer in time; the message has the end of its log.
        """
        self.prepare(report)
        self.spawn()
        self.wait_ready()

    def prepare(self, report: Report = print) -> None:
        """Install and configure the server, so that `spawn` can start it."""
        self.install(report)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure()

    def spawn(self) -> None:
        """Start the process and return at once.

        Raises:
            FramematchError: another program listens on one of its ports.
        """
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        # A program that sets SO_REUSEADDR can take a reserved port while the server is down.
        for address in self._addresses:
            if listens(address):
                raise FramematchError(
                    f"{self.name} cannot be started: another program listens at {address}",
                    hint="Stop that program, or get new ports with 'framematch stack down' and 'framematch stack up'",
                )
        if self.log_file.exists() and self.log_file.stat().st_size > _MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        self._log_offset = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.process = ServerProcess(self.command(), self.log_file)

    def ready(self) -> bool:
        """Whether the server answers now.

        Raises:
            FramematchError: its process has ended; the message has the end of its log.
        """
        answers = self._answers()
        process = self._running_process()  # checked last: another program on the port may have answered
        if not process.running:
            raise self._start_error(f"ended during its start (exit code {process.exit_code})")
        return answers

    def wait_ready(self) -> None:
        """Wait until the server answers; after `ready_timeout_s`, kill it and raise FramematchError."""
        deadline = time.monotonic() + self.ready_timeout_s
        while not self.ready():
            if time.monotonic() > deadline:
                self.kill()
                raise self._start_error(f"did not answer within {self.ready_timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def terminate(self) -> None:
        """Send SIGTERM without waiting: the first half of `stop`, to stop several servers concurrently."""
        if self.process is not None:
            self.process.terminate()

    def stop(self) -> None:
        """Stop the server by SIGTERM, and by SIGKILL after `stop_deadline_s`. Does nothing when it is not running."""
        if self.process is not None:
            self.process.stop(self.stop_deadline_s)

    def kill(self) -> None:
        """Send SIGKILL; the data are kept. Does nothing when it is not running."""
        if self.process is not None:
            self.process.kill()

    def restart(self) -> None:
        """Stop the server if it is running, and start it on the same port with the same data."""
        self.stop()
        self.start()

    def hide_argument(self, secret: str) -> None:
        """Overwrite `secret` in the arguments of the running process, which all users of the machine can read."""
        self._running_process().hide_argument(secret)

    def _answers(self) -> bool:
        try:
            self.ping()
        except UnavailableError:
            return False
        return True

    def _running_process(self) -> ServerProcess:
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process

    def _start_error(self, what: str) -> FramematchError:
        with self.log_file.open("rb") as log:
            log.seek(self._log_offset)  # without the output of earlier starts
            lines = log.read().decode(errors="replace").splitlines()
        tail = "\n".join([line for line in lines if not self.log_noise.match(line)][-_LOG_TAIL_LINES:])
        return FramematchError(
            f"{self.name} {what}. The end of its log:\n{tail}",
            hint=f"The whole log: {self.log_file}. Its data are in {self.folder}",
        )
