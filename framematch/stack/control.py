"""Starts, stops and queries the supervisor that runs the local servers in the background."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from framematch.core.errors import FramematchError, UsageError
from framematch.core.local_stack import LocalStack, ProcessId, read_local_stack, remove_local_stack
from framematch.core.paths import state_dir
from framematch.stack import supervisor
from framematch.stack.cache import Report, locked
from framematch.stack.status import ServerStatus, statuses
from framematch.stack.up import NAMES, install_servers, make_servers, owner

MODEL_REPOSITORY = Path("model_repository")
"""As `framematch model build` writes it: in the current folder."""
STOP_DEADLINE_S = 30.0
START_LOG = "start.log"
_RESTART_DEADLINE_S = 300.0  # every server has a shorter one of its own
_MIN_FREE_BYTES = 1_000_000
_POLL_S = 0.05


@dataclass(frozen=True)
class Started:
    """The running stack, whether it was running before, and the servers that were then started again."""

    local: LocalStack
    already: bool
    restarted: tuple[str, ...] = ()


def up(
    *,
    names: Sequence[str] | None = None,
    model_repository: Path = MODEL_REPOSITORY,
    data_dir: Path | None = None,
    report: Report = print,
) -> Started:
    """Start the servers (by default all) in the background and return when all of them answer.

    Of a running stack, only servers that do not answer are started again, at their addresses.

    Raises:
        PrerequisiteError: a program that a server needs is missing.
        FramematchError: a server did not start. At the first start all others are stopped again.
        UsageError: a name is unknown, or the data folder is in use, or the running stack lacks a server.
    """
    folder = (data_dir or _default_folder()).resolve()
    with _named_file_errors(), _one_at_a_time(report):
        if (running := read_local_stack()) is not None:
            return _mend(running, names, report)
        # Installed here, where the user sees the progress, and not by the supervisor.
        models = model_repository.resolve()
        servers = make_servers(NAMES if names is None else names, data_dir=folder, model_repository=models)
        install_servers(servers, report)
        folder.mkdir(parents=True, exist_ok=True)
        only = ",".join(server.name for server in servers)
        arguments = ["--only", only, "--data-dir", folder, "--model-repository", models]
        return Started(_launch([str(argument) for argument in arguments], folder, report), already=False)


def down(report: Report = print) -> bool:
    """Stop the supervisor and wait until it and its servers have ended; False when none was running.

    Without a readable state file, it is the process that owns the default data folder.
    """
    with _named_file_errors(), _one_at_a_time(report):
        running = read_local_stack()
        supervisor_process = running.supervisor if running else owner(_default_folder())
        if supervisor_process is not None:
            os.kill(supervisor_process.pid, signal.SIGTERM)
            if not _ended_within(supervisor_process, STOP_DEADLINE_S):
                os.kill(supervisor_process.pid, signal.SIGKILL)  # the kernel then kills its servers
                _ended_within(supervisor_process, STOP_DEADLINE_S)
        remove_local_stack()
        return supervisor_process is not None


def status() -> list[ServerStatus]:
    """Check each server of the running stack by real protocol calls; empty when no stack is running."""
    running = read_local_stack()
    return [] if running is None else statuses(running)


def _mend(running: LocalStack, names: Sequence[str] | None, report: Report) -> Started:
    """Start what does not answer again."""
    if missing := set(names or ()) - running.addresses().keys():
        raise UsageError(
            f"local servers are running without {', '.join(sorted(missing))}",
            hint="Stop them with 'framematch stack down', then start all that you need",
        )
    failed = [server for server in statuses(running) if server.error is not None]
    if not failed:
        return Started(running, already=True)
    if not running.servers:
        raise UsageError(
            f"{failed[0].name} does not answer, and another version of framematch started it",
            hint="Run 'framematch stack down', then 'framematch stack up'",
        )
    for server in failed:
        report(f"{server.name}: {server.error}; starting it again")
    restarted = tuple(server.name for server in failed)
    local = _restart(running, restarted, report)
    for server in statuses(local):
        if server.error is not None:
            raise FramematchError(
                f"{server.name} was started again, but: {server.error}", hint=f"Logs: {local.log_dir}/*/*.log"
            )
    return Started(local, already=True, restarted=restarted)


def _restart(running: LocalStack, names: Sequence[str], report: Report) -> LocalStack:
    """Make the supervisor start these servers again, and wait until they answer."""
    folder = Path(running.log_dir)
    failure = folder / supervisor.FAILURE_FILE
    failure.unlink(missing_ok=True)
    (folder / supervisor.RESTART_FILE).write_bytes(msgspec.json.encode(names))
    deadline = time.monotonic() + _RESTART_DEADLINE_S
    with (folder / START_LOG).open(encoding="utf-8") as lines:
        lines.seek(0, os.SEEK_END)
        os.kill(running.supervisor_pid, signal.SIGHUP)
        while (local := read_local_stack()) is not None and local.servers == running.servers:
            if time.monotonic() > deadline:
                raise FramematchError(
                    "the supervisor of the local servers does not respond", hint="Run 'framematch stack down'"
                )
            for line in lines:
                report(line.rstrip())
            time.sleep(_POLL_S)
        for line in lines:
            report(line.rstrip())
    if local is None or failure.exists():
        raise start_error(failure)
    return local


def _default_folder() -> Path:
    return state_dir() / "stack"


def _one_at_a_time(report: Report) -> AbstractContextManager[None]:
    return locked(state_dir() / "up.lock", waiting=lambda: report("waiting for another 'framematch stack' command"))


@contextmanager
def _named_file_errors() -> Iterator[None]:
    """Report a full disk, a missing right and the like in one line."""
    try:
        yield
    except OSError as error:
        where = error.filename or state_dir()
        raise FramematchError(
            f"cannot use {where}: {error.strerror or error}",
            hint="Check free disk space and permissions, or set FRAMEMATCH_STATE_DIR to another folder",
        ) from error


def _launch(arguments: Sequence[str], folder: Path, report: Report) -> LocalStack:
    failure = folder / supervisor.FAILURE_FILE
    failure.unlink(missing_ok=True)
    progress = folder / START_LOG
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
                raise start_error(failure)
            time.sleep(_POLL_S)


def start_error(failure: Path) -> FramematchError:
    """The error that the supervisor wrote to `failure`, or what can be said without it."""
    log = failure.with_name("supervisor.log")
    if failure.exists() and failure.stat().st_size:
        reason = msgspec.json.decode(failure.read_bytes(), type=supervisor.StartFailure)
        return FramematchError(reason.message, hint=reason.hint)
    if shutil.disk_usage(failure.parent).free < _MIN_FREE_BYTES:  # then the supervisor could not write the reason
        return FramematchError(
            f"the disk of {failure.parent} is full", hint="Free some space, or set FRAMEMATCH_STATE_DIR"
        )
    return FramematchError("the supervisor of the local servers ended unexpectedly", hint=f"Its log: {log}")


def _ended_within(process: ProcessId, deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while process.runs:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
