"""What every local server can do: prepare, start until it answers its own protocol, stop, be killed, start again."""

import re
import socket
import time
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from framematch.core.errors import FramematchError, UnavailableError
from stack.cache import Report
from stack.process import Command, ServerProcess

LOOPBACK = "127.0.0.1"
_POLL_S = 0.1
_LOG_TAIL_LINES = 12
_LOG_MAX_BYTES = 10_000_000  # at a start; one older file is kept


class ReservedPort:
    """A TCP port of 127.0.0.1 that nobody else is given while this object lives.

    A bound socket that does not listen holds it: connections are refused, and the kernel gives its number to no other
    program. Servers that set SO_REUSEADDR, as all of ours do, may listen on it all the same, as often as they start.
    `release()` gives it back early.
    """

    def __init__(self) -> None:
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, 0))
        self.number: int = holder.getsockname()[1]
        self.release = weakref.finalize(self, holder.close)

    @property
    def address(self) -> str:
        """It as `host:port`."""
        return f"{LOOPBACK}:{self.number}"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(address: str, timeout_s: float = 1.0) -> bool:
    """Whether a TCP connection to `host:port` is accepted: a cheap look before the real protocol call."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout_s).close()
    except OSError:
        return False
    return True


class Server(ABC):
    """One real server on 127.0.0.1. Port and data folder stay the same for the object's life, over every restart.

    Its files are in `folder`, its log is `folder/NAME.log`. `install` fetches and builds, which may take minutes the
    first time; `configure` writes its files; `spawn` starts the process; `ready` makes one real protocol call. `start`
    does all of it and waits.
    """

    name: ClassVar[str]
    ready_timeout_s: ClassVar[float] = 60.0
    stop_deadline_s: ClassVar[float] = 10.0
    log_noise: ClassVar[re.Pattern[str]] = re.compile(r"\s*$|\s+at ")  # lines of its log that say nothing

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.process: ServerProcess | None = None
        self._log_offset = 0

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client is given: `host:port`, or a URL."""

    @abstractmethod
    def install(self, report: Report = print) -> None:
        """Fetch or build what the cache lacks. Safe to call again, and from any thread.

        Raises:
            PrerequisiteError: a program that this needs is missing.
            FramematchError: a download or a build failed.
        """

    @abstractmethod
    def configure(self) -> None:
        """Write its configuration into `folder`, which exists, and what else one start needs; after `install`."""

    @abstractmethod
    def command(self) -> Command:
        """The program to run, after `configure`."""

    @abstractmethod
    def ping(self) -> None:
        """One real protocol call.

        Raises:
            UnavailableError: no proper answer within about two seconds.
        """

    @property
    def log_file(self) -> Path:
        """Everything that the server has written to stdout and stderr, over all its starts."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running_process().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal, as in `subprocess`."""
        return self._running_process().exit_code

    @property
    def running(self) -> bool:
        """Whether its process lives; `ping` says whether it also answers."""
        return self.process is not None and self.process.running

    def start(self, report: Report = print) -> None:
        """Start it and return when it answers.

        Raises:
            PrerequisiteError: a program that it needs is missing.
            FramematchError: it ended during its start, or did not answer in time; with the end of its log.
        """
        self.prepare(report)
        self.spawn()
        self.wait_ready()

    def prepare(self, report: Report = print) -> None:
        """Do everything that comes before `spawn`."""
        self.install(report)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure()

    def spawn(self) -> None:
        """Start the process and return at once."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_MAX_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        self._log_offset = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.process = ServerProcess(self.command(), self.log_file)

    def ready(self) -> bool:
        """Whether it answers by now.

        Raises:
            FramematchError: its process has ended; with the end of its log.
        """
        answers = self._answers()
        process = self._running_process()  # asked last: whoever else has its port may have answered
        if not process.running:
            raise self._start_error(f"ended during its start (exit code {process.exit_code})")
        return answers

    def wait_ready(self) -> None:
        """Return when it answers; stop it and raise FramematchError when it does not in `ready_timeout_s`."""
        deadline = time.monotonic() + self.ready_timeout_s
        while not self.ready():
            if time.monotonic() > deadline:
                raise self.late()
            time.sleep(_POLL_S)

    def late(self) -> FramematchError:
        """Stop it; the error that says it did not answer in time."""
        self.kill()
        return self._start_error(f"did not answer within {self.ready_timeout_s:.0f} s")

    def terminate(self) -> None:
        """SIGTERM, without waiting: the first half of `stop`, for several servers at once."""
        if self.process is not None:
            self.process.terminate()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after `stop_deadline_s`; nothing of it is left. Does nothing when it is not running."""
        if self.process is not None:
            self.process.stop(self.stop_deadline_s)

    def kill(self) -> None:
        """SIGKILL, as `kill -9` does; its data stay. Does nothing when it is not running."""
        if self.process is not None:
            self.process.kill()

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same port with the same data."""
        self.stop()
        self.start()

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
            log.seek(self._log_offset)  # what earlier starts have written says nothing about this one
            lines = log.read().decode(errors="replace").splitlines()
        tail = "\n".join([line for line in lines if not self.log_noise.match(line)][-_LOG_TAIL_LINES:])
        return FramematchError(
            f"{self.name} {what}. The end of its log:\n{tail}", hint=f"The whole log: {self.log_file}"
        )
