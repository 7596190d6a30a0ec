"""The background process of `framematch stack up`: runs the servers until SIGTERM, and logs when one dies.

It writes its progress, which `up` shows, to stdout, its log to stderr, and the reason of a failed start to FAILURE_FILE
in its data folder.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec
import structlog

from framematch.core.errors import FramematchError
from framematch.core.local_stack import remove_local_stack, write_local_stack
from framematch.core.logging import configure_logging
from framematch.core.redact import redact_uncaught
from framematch.stack.server import Server
from framematch.stack.up import NAMES, describe, make_servers, running_servers, start_server

FAILURE_FILE = "failure.json"
"""Why a start or a restart failed: a `StartFailure`."""
RESTART_FILE = "restart.json"
"""The names of the servers to start again at a SIGHUP."""
_WATCH_INTERVAL_S = 0.5

log = structlog.get_logger()
_report = partial(print, flush=True)  # to start.log, which `stack up` follows


@dataclass(frozen=True)
class StartFailure:
    """Why the servers did not start."""

    message: str
    hint: str


def main() -> int:
    """Run the servers that the arguments select; returns 0 after SIGTERM, 1 when they did not start."""
    redact_uncaught()
    arguments = _parse(sys.argv[1:])
    configure_logging("info", "json", service="stack-supervisor")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        _supervise(arguments)
    except FramematchError as error:
        log.exception("stack_failed")
        _write_failure(arguments.data_dir, error)
        return 1
    except OSError as error:
        log.exception("stack_failed")
        with suppress(OSError):  # the disk may be full
            what = f"cannot use {error.filename or arguments.data_dir}: {error.strerror or error}"
            _write_failure(arguments.data_dir, FramematchError(what, hint="Check free disk space and permissions"))
        return 1
    return 0


def _supervise(arguments: argparse.Namespace) -> NoReturn:
    os.umask(0o077)  # data and logs of the servers hold pictures: only their owner may read them
    data_dir: Path = arguments.data_dir
    asked = threading.Event()
    signal.signal(signal.SIGHUP, lambda _number, _frame: asked.set())
    servers = make_servers(arguments.only.split(","), data_dir=data_dir, model_repository=arguments.model_repository)
    with running_servers(servers, data_dir=data_dir, report=_report):
        write_local_stack(describe(servers, log_dir=data_dir))
        log.info("stack_started", servers=[server.name for server in servers])
        try:
            _watch(servers, asked, data_dir)
        finally:
            remove_local_stack()
            log.info("stack_stopping")


def _watch(servers: Sequence[Server], asked: threading.Event, data_dir: Path) -> NoReturn:
    """Log each death once, and start servers again when `asked`, until a signal ends the process."""
    alive = list(servers)
    while True:
        for server in [server for server in alive if not server.running]:
            log.error("server_died", server=server.name, log_file=str(server.log_file))
            alive.remove(server)
        if asked.wait(_WATCH_INTERVAL_S):
            asked.clear()
            _restart(servers, data_dir)
            alive = [server for server in servers if server.running]


def _restart(servers: Sequence[Server], data_dir: Path) -> None:
    """Start the servers that RESTART_FILE names again, at their addresses; `stack up` waits for the new state file."""
    names = msgspec.json.decode((data_dir / RESTART_FILE).read_bytes(), type=list[str])
    try:
        for server in servers:
            if server.name in names:
                log.info("server_restarting", server=server.name)
                server.stop()
                start_server(server, _report)
    except FramematchError as error:
        log.exception("server_restart_failed")
        _write_failure(data_dir, error)  # before the state file
    write_local_stack(describe(servers, log_dir=data_dir))


def _write_failure(data_dir: Path, error: FramematchError) -> None:
    (data_dir / FAILURE_FILE).write_bytes(msgspec.json.encode(StartFailure(error.message, error.hint)))


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    """Exit through every `finally`; a second signal is ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(0)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m framematch.stack.supervisor", description=__doc__)
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model-repository", type=Path, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
