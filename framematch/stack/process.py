"""A server as a child process: it has its own process group and log file, and cannot outlive its starter."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from framematch.core.local_stack import process_fields

LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL_S = 0.02
_GROUP_FIELD, _ARGUMENTS_FIELDS = 2, (45, 46)  # of `process_fields`


@dataclass(frozen=True)
class Command:
    """A program with its arguments, and variables to add to the environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class Process(Protocol):
    """What `ServerProcess` needs of a `subprocess.Popen`."""

    pid: int
    returncode: int | Any

    def wait(self) -> int:
        """Return its exit code once it has ended."""


class ServerProcess:
    """A running program and its whole process group.

    When the starting process ends, even by SIGKILL, so does the program; after `stop` or `kill` no process of its group
    is left. Output is appended to `log_file`. Can be created in any thread.
    """

    def __init__(self, command: Command, log_file: Path) -> None:
        self.log_file = log_file
        self._group_ended = False
        log_file.parent.mkdir(parents=True, exist_ok=True)
        # The kernel sends the parent-death signal when the spawning thread ends, so that thread waits for the process.
        spawned: Future[Process] = Future()
        self._waiter = threading.Thread(target=self._run, args=(command, spawned), name="server-waiter", daemon=True)
        self._waiter.start()
        self._process = spawned.result()

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it is running; negative for a signal, as in `subprocess`."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        """Whether the program itself is running."""
        return self._waiter.is_alive()

    def terminate(self) -> None:
        """Send SIGTERM to the group and return at once."""
        self._signal_group(signal.SIGTERM)

    def stop(self, deadline_s: float = 10.0) -> None:
        """Stop the group: SIGTERM, and SIGKILL for what is left after the deadline."""
        self.terminate()
        self._waiter.join(deadline_s)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the group, and wait until none of its processes is left."""
        self._signal_group(signal.SIGKILL)
        self._waiter.join()
        while group_members(self.pid) and not self._group_ended:
            self._signal_group(signal.SIGKILL)
            time.sleep(_POLL_S)
        self._group_ended = True

    def hide_argument(self, secret: str) -> None:
        """Overwrite `secret` in the program's arguments, once it has read them.

        Does nothing after its end, or where the system forbids it (`kernel.yama.ptrace_scope` above 1).
        """
        fields = process_fields(self.pid)
        if fields is None:
            return
        start, end = (int(fields[index]) for index in _ARGUMENTS_FIELDS)
        # A process may write to the memory of its children, as a debugger does.
        with (
            contextlib.suppress(PermissionError, ProcessLookupError),
            Path(f"/proc/{self.pid}/mem").open("r+b", buffering=0) as memory,
        ):
            memory.seek(start)
            arguments = memory.read(end - start)
            memory.seek(start)
            memory.write(arguments.replace(secret.encode(), b"*" * len(secret)))

    def _run(self, command: Command, spawned: Future[Process]) -> None:
        try:
            with self.log_file.open("ab") as log:
                process = self._launch(command, log)
        except OSError as error:
            spawned.set_exception(error)
            return
        spawned.set_result(process)
        process.wait()

    def _launch(self, command: Command, log: BinaryIO) -> Process:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command.arguments],
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    def _signal_group(self, number: signal.Signals) -> None:
        # After the group has ended, its id may be reused.
        if not self._group_ended and group_members(self.pid):
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.killpg(self.pid, number)


def group_members(group: int) -> list[int]:
    """The ids of a group's running processes, without zombies."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if (fields := process_fields(pid)) and int(fields[_GROUP_FIELD]) == group]
