"""Starts the selected servers as child processes, and stops all of them at the end, also after an error."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from framematch.core.errors import UsageError
from framematch.core.local_stack import LocalStack, ProcessId, process_start
from framematch.stack.cache import Report, locked
from framematch.stack.kafka import KafkaServer
from framematch.stack.mediamtx import MediaMtxServer
from framematch.stack.mongodb import MongoServer
from framematch.stack.server import Server
from framematch.stack.triton import TritonServer

NAMES = ("kafka", "triton", "mongodb", "mediamtx")
LOCK_FILE = "lock"  # in the data folder; locked by the process that owns its servers, which it names


def make_servers(names: Sequence[str], *, data_dir: Path, model_repository: Path) -> list[Server]:
    """Create the servers with these names, each with its folder below `data_dir`, without starting them.

    Raises:
        UsageError: a name is unknown, or there is none.
    """
    makers: Mapping[str, Callable[[Path], Server]] = {
        "kafka": KafkaServer,
        "triton": lambda folder: TritonServer(folder, model_repository),
        "mongodb": MongoServer,
        "mediamtx": MediaMtxServer,
    }
    if unknown := [name for name in names if name not in makers]:
        raise UsageError(f"there is no server named {unknown[0]!r}", hint=f"Choose from {', '.join(makers)}")
    if not names:
        raise UsageError("no server was chosen", hint=f"Choose from {', '.join(makers)}")
    return [make(data_dir / name) for name, make in makers.items() if name in names]


def install_servers(servers: Sequence[Server], report: Report) -> None:
    """Download and build what the cache lacks for `servers`, concurrently.

    Raises:
        PrerequisiteError: a program that a server needs is missing.
        FramematchError: a download or a build failed.
    """
    _together(servers, lambda server: server.install(report))


@contextlib.contextmanager
def running_stack(
    *, data_dir: Path, model_repository: Path, names: Sequence[str] = NAMES, report: Report = print
) -> Iterator[LocalStack]:
    """Run the servers with these names inside the context, on free ports; all of them answer at its start.

    `report` gets a line for each step. Data in `data_dir` are kept; `model_repository` is created when it is missing.

    Raises:
        PrerequisiteError: a program that a server needs is missing.
        FramematchError: a server did not start; the message has the end of its log.
        UsageError: another process runs servers over the same `data_dir`.
    """
    servers = make_servers(names, data_dir=data_dir, model_repository=model_repository)
    with running_servers(servers, data_dir=data_dir, report=report):
        yield describe(servers, log_dir=data_dir)


@contextlib.contextmanager
def running_servers(servers: Sequence[Server], *, data_dir: Path, report: Report) -> Iterator[None]:
    """Run `servers` inside the context; they are started and stopped concurrently."""
    with locked(data_dir / LOCK_FILE, waiting=lambda: _refuse(data_dir)):
        (data_dir / LOCK_FILE).write_bytes(msgspec.json.encode(ProcessId(os.getpid(), process_start(os.getpid()))))
        try:
            _together(servers, lambda server: start_server(server, report))
            yield
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.stop()


def describe(servers: Sequence[Server], *, log_dir: Path) -> LocalStack:
    """The addresses of `servers`, with this process as the supervisor."""
    addresses = {server.name: server.address for server in servers}
    triton = next((server for server in servers if isinstance(server, TritonServer)), None)
    return LocalStack(
        supervisor_pid=os.getpid(),
        kafka_bootstrap_servers=addresses.get("kafka"),
        mongodb_uri=addresses.get("mongodb"),
        triton_url=addresses.get("triton"),
        triton_metrics_url=triton.metrics_url if triton else None,
        rtsp_url=addresses.get("mediamtx"),
        model_repository=str(triton.model_repository) if triton else None,
        log_dir=str(log_dir.resolve()),
        supervisor_start=process_start(os.getpid()),
        triton_repository_key=triton.repository_key if triton else None,
        servers={server.name: server.process_id for server in servers if server.process is not None},
    )


def _together(servers: Sequence[Server], do: Callable[[Server], None]) -> None:
    """Call `do` with each server, concurrently; raises the first of several errors."""
    with ThreadPoolExecutor(len(servers)) as pool:
        for done in as_completed([pool.submit(do, server) for server in servers]):
            done.result()


def start_server(server: Server, report: Report) -> None:
    """Start one server, wait until it answers, and report that.

    Raises:
        PrerequisiteError: a program that it needs is missing.
        FramematchError: it did not start; the message has the end of its log.
    """
    server.prepare(report)
    started_s = time.monotonic()
    server.spawn()
    server.wait_ready()
    report(f"{server.name}: ready after {time.monotonic() - started_s:.1f} s at {server.address}")


def owner(data_dir: Path) -> ProcessId | None:
    """The running process that has servers over `data_dir`, whether or not the state file names it."""
    try:
        found = msgspec.json.decode((data_dir / LOCK_FILE).read_bytes(), type=ProcessId)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if found.runs else None


def _refuse(data_dir: Path) -> None:
    found = owner(data_dir)
    process = f"process {found.pid}" if found else "another process"
    raise UsageError(
        f"{process} runs servers over {data_dir}", hint="Stop it ('framematch stack down'), or use another folder"
    )
