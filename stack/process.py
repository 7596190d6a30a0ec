"""One server as a child process: its own process group, its log file, and no way to outlive whoever started it."""

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

LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL_S = 0.02


@dataclass(frozen=True)
class Command:
    """What to run: arguments, and what is added to the environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class ServerProcess:
    """A running program and its whole process group.

    Guarantees: when the starting process ends, even by SIGKILL, so does the program; after `stop` or `kill` no process
    of its group is left. Output is appended to `log_file`. May be made from any thread.
    """

    def __init__(self, command: Command, log_file: Path) -> None:
        self.log_file = log_file
        self._gone = False
        log_file.parent.mkdir(parents=True, exist_ok=True)
        # The kernel's parent-death signal follows the thread that spawned, so a thread of its own does, and stays.
        spawned: Future[subprocess.Popen[bytes]] = Future()
        self._keeper = threading.Thread(target=self._keep, args=(command, spawned), name="server-keeper", daemon=True)
        self._keeper.start()
        self._process = spawned.result()

    @property
    def pid(self) -> int:
        """Process id, which is the process group's id too."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal, as in `subprocess`."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        """Whether the program itself has not ended yet."""
        return self._keeper.is_alive()

    def terminate(self) -> None:
        """Ask the group to end, and return at once."""
        self._signal_group(signal.SIGTERM)

    def stop(self, deadline_s: float = 10.0) -> None:
        """End the group: SIGTERM, and SIGKILL for what is left after the deadline."""
        self.terminate()
        self._keeper.join(deadline_s)
        self.kill()

    def kill(self) -> None:
        """End the group at once by SIGKILL, and wait until nothing of it is left."""
        self._signal_group(signal.SIGKILL)
        self._keeper.join()
        while group_members(self.pid) and not self._gone:
            self._signal_group(signal.SIGKILL)
            time.sleep(_POLL_S)
        self._gone = True

    def _keep(self, command: Command, spawned: Future[subprocess.Popen[bytes]]) -> None:
        launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command.arguments]
        try:
            with self.log_file.open("ab") as log:
                process = subprocess.Popen(
                    launch,
                    env={**os.environ, **command.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
        except OSError as error:
            spawned.set_exception(error)
            return
        spawned.set_result(process)
        process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        # Once seen empty, the id may come to belong to someone else.
        if not self._gone and group_members(self.pid):
            with contextlib.suppress(ProcessLookupError):  # the last one ended in between
                os.killpg(self.pid, number)


def group_members(group: int) -> list[int]:
    """Ids of the living processes of a group; those that ended and were not waited for don't count."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _lives_in(pid, group)]


def _lives_in(pid: int, group: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, _parent, its_group = stat.rpartition(")")[2].split()[:3]
    return int(its_group) == group and state not in "ZX"
