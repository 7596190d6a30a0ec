"""Starts, stops and queries the supervisor that runs the local servers in the background."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from framematch.core.errors import FramematchError, UnavailableError
from framematch.core.local_stack import LocalStack, read_local_stack, remove_local_stack, supervisor_runs
from framematch.core.paths import state_dir
from framematch.stack import kafka, mediamtx, mongodb, supervisor, triton
from framematch.stack.cache import Report, locked
from framematch.stack.up import NAMES, install_servers, make_servers

MODEL_REPOSITORY = Path("model_repository")
"""As `framematch model build` writes it: in the current folder."""
STOP_DEADLINE_S = 30.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Started:
    """The running stack, and whether it was running before."""

    local: LocalStack
    already: bool


@dataclass(frozen=True)
class ServerStatus:
    """The address of a server, and the reason when it does not answer there."""

    name: str
    address: str
    error: str | None


def up(
    *,
    names: Sequence[str] | None = None,
    model_repository: Path = MODEL_REPOSITORY,
    data_dir: Path | None = None,
    report: Report = print,
) -> Started:
    """Start the servers (by default all) in the background and return when all of them answer.

    A running stack is not changed.

    Raises:
        PrerequisiteError: a program that a server needs is missing.
        FramematchError: a server did not start; all others are stopped again.
        UsageError: a name is unknown, or the data folder is in use.
    """
    folder = (data_dir or state_dir() / "stack").resolve()
    with locked(state_dir() / "up.lock", waiting=lambda: report("waiting for another 'stack up'")):
        if (running := read_local_stack()) is not None:
            return Started(running, already=True)
        # Installed here, where the user sees the progress, and not by the supervisor.
        models = model_repository.resolve()
        servers = make_servers(NAMES if names is None else names, data_dir=folder, model_repository=models)
        install_servers(servers, report)
        folder.mkdir(parents=True, exist_ok=True)
        only = ",".join(server.name for server in servers)
        arguments = ["--only", only, "--data-dir", folder, "--model-repository", models]
        return Started(_launch([str(argument) for argument in arguments], folder, report), already=False)


def down() -> bool:
    """Stop the supervisor and wait until it and its servers have ended; False when none was running."""
    running = read_local_stack()
    if running is not None:
        os.kill(running.supervisor_pid, signal.SIGTERM)
        if not _ended_within(running, STOP_DEADLINE_S):
            os.kill(running.supervisor_pid, signal.SIGKILL)  # the kernel then kills its servers
            _ended_within(running, STOP_DEADLINE_S)
    remove_local_stack()
    return running is not None


def status() -> list[ServerStatus]:
    """Check each server of the running stack by one real protocol call; empty when no stack is running."""
    running = read_local_stack()
    if running is None:
        return []
    pings = {"kafka": kafka.ping, "triton": triton.ping, "mongodb": mongodb.ping, "mediamtx": mediamtx.ping}
    with ThreadPoolExecutor(len(pings)) as pool:
        checks = [pool.submit(_check, name, address, pings[name]) for name, address in running.addresses().items()]
        return [check.result() for check in checks]


def _check(name: str, address: str, ping: Callable[[str], None]) -> ServerStatus:
    try:
        ping(address)
    except UnavailableError as error:
        return ServerStatus(name, address, error.message)
    return ServerStatus(name, address, None)


def _launch(arguments: Sequence[str], folder: Path, report: Report) -> LocalStack:
    failure = folder / supervisor.FAILURE_FILE
    failure.unlink(missing_ok=True)
    progress = folder / "start.log"
    with progress.open("wb") as stdout, (folder / "supervisor.log").open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "framematch.stack.supervisor", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    # The supervisor usually outlives this process; if not, its exit code has to be collected.
    reaper = threading.Thread(target=process.wait, name="supervisor-reaper", daemon=True)
    reaper.start()
    try:
        return _follow(process.pid, reaper, progress, failure, report)
    except BaseException:
        process.terminate()
        reaper.join(STOP_DEADLINE_S)
        raise


def _follow(pid: int, reaper: threading.Thread, progress: Path, failure: Path, report: Report) -> LocalStack:
    """Report the supervisor's progress until it has written the state file; `reaper` runs as long as it does."""
    with progress.open(encoding="utf-8") as lines:
        while True:
            ended = not reaper.is_alive()
            local = read_local_stack()
            for line in lines:
                report(line.rstrip())
            if local is not None and local.supervisor_pid == pid:
                return local
            if ended:
                raise _start_error(failure)
            time.sleep(_POLL_S)


def _start_error(failure: Path) -> FramematchError:
    log = failure.with_name("supervisor.log")
    if not failure.exists():
        return FramematchError("the supervisor of the local servers ended unexpectedly", hint=f"Its log: {log}")
    reason = msgspec.json.decode(failure.read_bytes(), type=supervisor.StartFailure)
    return FramematchError(reason.message, hint=reason.hint)


def _ended_within(running: LocalStack, deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while supervisor_runs(running):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
