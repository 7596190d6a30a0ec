"""`framematch stack` when a server has died, hangs, or answers and does not work: `status` says so, `up` mends it."""

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from typer.testing import CliRunner, Result

from framematch.cli.stack import app
from framematch.core.errors import FramematchError
from framematch.core.local_stack import LocalStack, read_local_stack
from framematch.stack import control
from framematch.stack.process import group_members
from tests.integration.echo_model import MODEL, write_echo_model
from tests.support import freeze, wait_until

pytestmark = pytest.mark.integration

NAMES = ("kafka", "triton", "mongodb", "mediamtx")


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a running stack of all servers; Triton has one model."""
    folder = tmp_path_factory.mktemp("repair")
    write_echo_model(folder / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAMEMATCH_STATE_DIR", str(folder))
        control.up(model_repository=folder / "models")
    yield folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAMEMATCH_STATE_DIR", str(folder))
        control.down()


@pytest.fixture
def local(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """The running stack, in which every server works."""
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(state_dir))
    assert invoke("up").exit_code == 0
    found = read_local_stack()
    assert found is not None
    assert found.servers.keys() == set(NAMES)
    return found


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def mended(local: LocalStack, name: str, reason: str) -> LocalStack:
    """`status` gives `reason` for this server alone, and `up` starts it again, at the same address."""
    before = invoke("status")
    assert before.exit_code == 1
    [line] = [line for line in before.stdout.splitlines() if line.startswith(f"  {name} ")]
    assert reason in line
    assert before.stdout.count(" answers\n") == len(NAMES) - 1
    result = invoke("up")
    assert result.exit_code == 0, f"{result.output}{result.exception}"
    assert f"started again: {name}" in result.stdout
    after = invoke("status")
    assert (after.exit_code, after.stdout.count(" answers\n")) == (0, len(NAMES))
    found = read_local_stack()
    assert found is not None
    assert found.addresses() == local.addresses()
    assert {n for n in NAMES if found.servers[n] != local.servers[n]} == {name}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_server_is_started_again_at_its_address(name: str, local: LocalStack) -> None:
    pid = local.servers[name].pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not local.servers[name].runs, message=f"{name} has ended")
    mended(local, name, f"{name}.log")
    assert not group_members(pid)


def test_a_server_that_hangs_is_started_again(local: LocalStack) -> None:
    freeze(local.servers["mediamtx"].pid)
    mended(local, "mediamtx", "no RTSP server answers")


def test_a_mongodb_whose_store_has_closed_is_started_again_with_its_data(local: LocalStack) -> None:
    """The store closes itself when it cannot write, as on a full disk; MongoDB's ping is still answered."""
    store = Path(local.log_dir) / "mongodb" / "data" / "framematch.mv"
    with closing(MongoClient[dict[str, object]](local.mongodb_uri)) as client:
        client.repair.kept.insert_one({"_id": 1})
        deadline_s = time.monotonic() + 30
        # The first write that is seen may have begun before; and there is always more to write.
        for _ in range(2):
            written_ns = store.stat().st_mtime_ns
            while store.stat().st_mtime_ns == written_ns:
                assert time.monotonic() < deadline_s, "the store writes nothing"
                client.repair.more.insert_one({})
        limit = store.stat().st_size + 4096
        resource.prlimit(local.servers["mongodb"].pid, resource.RLIMIT_FSIZE, (limit, limit))

        def closed() -> bool:
            try:
                client.repair.dropped.insert_one({"filling": os.urandom(50_000)})
            except OperationFailure:
                return True
            return False

        wait_until(closed, message="the store has closed")
        assert client.admin.command("ping")["ok"] == 1
        mended(local, "mongodb", "cannot read its store: This store is closed")
        assert client.repair.kept.find_one() == {"_id": 1}


def test_a_triton_whose_model_has_died_is_started_again(local: LocalStack) -> None:
    """Triton itself goes on reporting that it and the model are ready."""
    group = local.servers["triton"].pid
    for pid in set(group_members(group)) - {group}:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: group_members(group) == [group], message="the model's process has ended")
    mended(local, "triton", "the process of echo has died")


def test_a_broken_model_fails_the_status_with_its_reason(local: LocalStack) -> None:
    assert local.model_repository is not None
    code = Path(local.model_repository) / "echo" / "1" / "model.py"
    code.write_text("import no_such_module")
    try:
        os.kill(local.servers["triton"].pid, signal.SIGKILL)
        wait_until(lambda: not local.servers["triton"].runs, message="Triton has ended")
        result = invoke("up")
        assert isinstance(result.exception, FramematchError)
        assert "no_such_module" in result.exception.message
        assert invoke("status").exit_code == 1
    finally:
        code.write_text(MODEL)
    assert invoke("up").exit_code == 0
    assert invoke("status").exit_code == 0


def answer_as_rtsp(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")


@pytest.fixture
def take_port() -> Iterator[Callable[[str], socket.socket]]:
    """Take an address, as another program could, and answer there."""
    taken: list[socket.socket] = []

    def take(address: str) -> socket.socket:
        host, port = address.rsplit(":", 1)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def bound() -> bool:  # once the last thread of the dead server is gone
            with suppress(OSError):
                listener.bind((host, int(port)))
                return True
            return False

        wait_until(bound, message=f"{address} is free")
        listener.listen()
        threading.Thread(target=answer_as_rtsp, args=(listener,), daemon=True).start()
        taken.append(listener)
        return listener

    yield take
    for listener in taken:
        listener.close()


def test_another_program_at_the_address_of_a_dead_server_is_not_taken_for_it(
    local: LocalStack, take_port: Callable[[str], socket.socket]
) -> None:
    assert local.rtsp_url is not None
    os.kill(local.servers["mediamtx"].pid, signal.SIGKILL)
    wait_until(lambda: not local.servers["mediamtx"].runs, message="it has ended")
    address = local.rtsp_url.removeprefix("rtsp://")
    other = take_port(address)
    assert invoke("status").exit_code == 1
    result = invoke("up")
    assert isinstance(result.exception, FramematchError)
    assert result.exception.message == f"mediamtx cannot be started: another program listens at {address}"
    other.shutdown(socket.SHUT_RDWR)
    other.close()
    mended(local, "mediamtx", "has ended")
