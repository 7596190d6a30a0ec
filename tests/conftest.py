"""Fixtures for real servers: one of each per process, one broker for all, started at the first use.

A test that kills or freezes a broker uses `breakable_kafka`; one that does so to another server starts its own.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from framematch.core.settings_environment import known_environment_names
from framematch.stack.kafka import KafkaServer
from framematch.stack.mediamtx import MediaMtxServer
from framematch.stack.mongodb import MongoServer
from framematch.stack.server import ReservedPort, Server
from framematch.stack.triton import TritonServer
from tests.fault_table import pytest_terminal_summary  # noqa: F401  # a hook
from tests.shared_server import SharedKafka, shared_kafka
from tests.support import logging_restored, resume

AnyServer = TypeVar("AnyServer", bound=Server)

# A shell that starts the tests in the background ignores SIGINT, and child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Readline, which pytest loads, sets COLUMNS, and the processes of a parallel run would inherit it.
os.environ.pop("COLUMNS", None)
# If this is set, every process of every test compiles all its modules again, which takes longer than most tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# The duration of an example depends on the load of the machine, so it has no deadline.
# Half of the usual examples in each run: they are other ones each time.
hypothesis.settings.register_profile("framematch", deadline=None, max_examples=50)
hypothesis.settings.load_profile("framematch")

UNTIL_THE_END = pytest.StashKey[ExitStack]()
GIVEN_MONGODB_URI = os.environ.get("MONGODB_URI")
DEVELOPERS_NAMES = known_environment_names() - {"FRAMEMATCH_CACHE_DIR"}


@dataclass(frozen=True)
class GivenMongo:
    """A MongoDB at the environment's MONGODB_URI, to run the same tests against it."""

    uri: str


@pytest.fixture(scope="session")
def new_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes an empty folder; `mktemp` would look through those of all earlier tests each time."""
    base, numbers = tmp_path_factory.mktemp("states"), count()

    def make() -> Path:
        folder = base / str(next(numbers))
        folder.mkdir()
        return folder

    return make


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, new_state_folder: Callable[[], Path]) -> None:
    """Hide the developer's settings and running stack from every test; only the cache of servers is shared."""
    for name in DEVELOPERS_NAMES & os.environ.keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(new_state_folder()))


@pytest.fixture(autouse=True)
def _restore_signals() -> Iterator[None]:
    """What ends a process ignores SIGTERM; servers that a later test starts would inherit that."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.fixture
def untraced_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage does not trace the processes that the test starts: it costs them a third of their CPU time.

    For tests of outages, which start many processes whose code other tests cover.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def dead_address() -> Iterator[str]:
    """A `host:port` where nothing listens while the test runs."""
    port = ReservedPort()
    yield port.address
    port.release()


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Run `server` inside the context."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[UNTIL_THE_END] = ExitStack()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # Not at the end of a fixture, which is a part of the last test and its timeout: others may still use the servers.
    session.config.stash[UNTIL_THE_END].close()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def kafka(run_folder: Path, pytestconfig: pytest.Config) -> SharedKafka:
    """A broker that all processes of this run share, with the topics that tests create: use unique names."""
    return pytestconfig.stash[UNTIL_THE_END].enter_context(shared_kafka(run_folder / "shared-kafka"))


@pytest.fixture(scope="session")
def breakable_kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The broker behind `breakable_kafka`."""
    with running(KafkaServer(tmp_path_factory.mktemp("breakable-kafka"))) as server:
        yield server


@pytest.fixture
def breakable_kafka(breakable_kafka_server: KafkaServer) -> Iterator[KafkaServer]:
    """A broker that the test may kill or freeze; it runs again after the test. Use unique topic names."""
    try:
        yield breakable_kafka_server
    finally:
        if breakable_kafka_server.running:
            resume(breakable_kafka_server.pid)
        else:
            breakable_kafka_server.start()


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer | GivenMongo]:
    """A MongoDB server: `.uri`. The one at MONGODB_URI, else a new one; use a unique database name."""
    if GIVEN_MONGODB_URI:
        yield GivenMongo(GIVEN_MONGODB_URI)
        return
    with running(MongoServer(tmp_path_factory.mktemp("mongodb"))) as server:
        yield server


@pytest.fixture(scope="session")
def rtsp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaMtxServer]:
    """An RTSP server: `.url`; publish to and read from any name below it."""
    with running(MediaMtxServer(tmp_path_factory.mktemp("rtsp"))) as server:
        yield server


@pytest.fixture(scope="session")
def start_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], TritonServer]]:
    """Start Triton with a model repository, once for each repository; `.url` is its gRPC endpoint."""
    servers: dict[Path, TritonServer] = {}

    def start(model_repository: Path) -> TritonServer:
        key = model_repository.resolve()
        if key not in servers:
            servers[key] = TritonServer(tmp_path_factory.mktemp("triton"), key)
            servers[key].start()
        return servers[key]

    try:
        yield start
    finally:
        for server in servers.values():
            server.terminate()
        for server in servers.values():
            server.stop()
