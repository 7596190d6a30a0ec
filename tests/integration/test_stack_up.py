"""`framematch stack`: servers in the background, which end with their supervisor."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from framematch.cli.stack import app
from framematch.core.errors import CameraUnavailableError, FramematchError, UsageError
from framematch.core.local_stack import LocalStack, read_local_stack, state_file
from framematch.stack import control, mediamtx
from framematch.stack.process import group_members
from framematch.stack.up import running_stack
from tests.integration.echo_model import write_echo_model
from tests.support import wait_until

pytestmark = pytest.mark.integration

# A program that starts all four servers, prints their process ids, and waits to be killed.
STARTER = """
import sys, time
from pathlib import Path
from framematch.stack.up import NAMES, make_servers, running_servers
folder = Path(sys.argv[1])
servers = make_servers(NAMES, data_dir=folder, model_repository=folder / "models")
with running_servers(servers, data_dir=folder, report=lambda line: None):
    print(*(server.pid for server in servers), flush=True)
    time.sleep(600)
"""


def invoke(*arguments: str) -> Result:
    """Run `framematch stack …` in this process; the supervisor is another process."""
    return CliRunner().invoke(app, arguments)


def children(pid: int) -> list[int]:
    """Process ids of the servers that a supervisor started."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


@pytest.fixture
def up() -> Iterator[LocalStack]:
    """MongoDB and RTSP in the background."""
    try:
        result = invoke("up", "--only", "mongodb,mediamtx")
        assert result.exit_code == 0, result.output
        local = read_local_stack()
        assert local is not None
        yield local
    finally:
        control.down()


def test_a_starter_killed_by_kill_9_leaves_nothing_running(tmp_path: Path) -> None:
    write_echo_model(tmp_path / "models")
    with subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        groups = [int(pid) for pid in starter.stdout.readline().split()]
        starter.kill()
    assert len(groups) == 4
    wait_until(lambda: not any(map(group_members, groups)), message="the servers' processes are gone")


def test_status_checks_every_server_of_the_running_stack(up: LocalStack) -> None:
    result = invoke("status")
    assert result.exit_code == 0
    assert result.stdout.count("answers") == 2
    assert up.rtsp_url is not None
    assert up.rtsp_url in result.stdout


def test_a_second_up_shows_the_addresses_of_the_first(up: LocalStack) -> None:
    result = invoke("up")
    assert result.exit_code == 0
    assert "running already" in result.stdout
    assert up.mongodb_uri is not None
    assert up.mongodb_uri in result.stdout
    assert read_local_stack() == up


def test_down_leaves_neither_a_process_nor_the_state_file(up: LocalStack) -> None:
    servers = children(up.supervisor_pid)
    assert len(servers) == 2
    assert invoke("down").exit_code == 0
    assert [member for server in servers for member in group_members(server)] == []
    assert not state_file().exists()


def test_a_server_that_dies_is_logged_and_fails_the_status(up: LocalStack) -> None:
    os.kill(children(up.supervisor_pid)[0], signal.SIGKILL)
    log = Path(up.log_dir) / "supervisor.log"
    wait_until(lambda: "server_died" in log.read_text(), message="the supervisor logs it")
    died = [json.loads(line) for line in log.read_text().splitlines() if "server_died" in line]
    assert len(died) == 1
    result = invoke("status")
    assert result.exit_code == 1
    assert "answers" in result.stdout


def test_the_servers_of_a_killed_supervisor_end_too_and_up_works_again(up: LocalStack) -> None:
    servers = children(up.supervisor_pid)
    os.kill(up.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: not any(group_members(server) for server in servers), message="the servers are gone")
    assert invoke("status").exit_code == 1
    again = invoke("up", "--only", "mediamtx")
    assert again.exit_code == 0
    assert "running already" not in again.stdout


def test_a_server_that_was_left_out_is_not_said_to_run(up: LocalStack) -> None:  # noqa: ARG001  # it runs
    result = invoke("up", "--only", "kafka,mongodb")
    assert isinstance(result.exception, UsageError)
    assert "running without kafka" in result.exception.message
    assert "stack down" in result.exception.hint


def test_a_stack_whose_state_file_is_damaged_is_named_and_can_be_stopped(up: LocalStack) -> None:
    servers = children(up.supervisor_pid)
    state_file().write_bytes(b"garbage")
    again = invoke("up", "--only", "mediamtx")
    assert isinstance(again.exception, FramematchError)
    assert f"process {up.supervisor_pid} runs servers over" in again.exception.message
    assert "stack down" in again.exception.hint
    assert "are stopped" in invoke("down").stdout
    assert not any(group_members(server) for server in servers)
    assert not state_file().exists()


def test_the_state_of_an_older_version_is_read_and_leads_to_a_fresh_start(up: LocalStack) -> None:
    state = json.loads(state_file().read_bytes())
    del state["servers"], state["triton_repository_key"]
    state_file().write_text(json.dumps({**state, "of_a_later_version": 1}))
    assert invoke("status").exit_code == 0
    os.kill(up.servers["mediamtx"].pid, signal.SIGKILL)
    wait_until(lambda: not up.servers["mediamtx"].runs, message="it has ended")
    result = invoke("up")
    assert isinstance(result.exception, UsageError)
    assert "'framematch stack down', then 'framematch stack up'" in result.exception.hint


def test_two_starts_at_the_same_moment_give_one_stack(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "framematch", "stack", "up", "--only", "mediamtx"]
    environment = {**os.environ, "FRAMEMATCH_STATE_DIR": str(tmp_path)}
    starts = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        outputs = [start.communicate(timeout=60)[0] for start in starts]
        assert [start.returncode for start in starts] == [0, 0]
        assert sum("running already" in output for output in outputs) == 1
        shown = [re.findall(r"^  mediamtx +(rtsp://\S+)", output, re.MULTILINE) for output in outputs]
        assert shown[0] == shown[1] != []
    finally:
        subprocess.run([*command[:4], "down"], env=environment, stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("file", ["lock", "mediamtx/mediamtx.yml"])
def test_a_full_disk_is_said_in_one_line(file: str, tmp_path: Path) -> None:
    full = tmp_path / file
    full.parent.mkdir(exist_ok=True)
    full.symlink_to("/dev/full")  # each write fails as on a full disk
    with pytest.raises(FramematchError, match="No space left on device") as caught:
        control.up(names=["mediamtx"], data_dir=tmp_path)
    assert "free disk space" in caught.value.hint
    assert read_local_stack() is None


def test_up_fails_with_the_end_of_the_log_of_the_server_that_did_not_start(tmp_path: Path) -> None:
    data = tmp_path / "data" / "mongodb" / "data" / "framematch.mv"
    data.parent.mkdir(parents=True)
    data.write_bytes(b"not an H2 file" * 1000)
    with pytest.raises(FramematchError, match=f"cannot open the store {re.escape(str(data))}: ") as caught:
        control.up(names=["mongodb", "mediamtx"], data_dir=tmp_path / "data")
    assert "Exception in thread" not in caught.value.message
    assert "mongodb.log" in caught.value.hint
    assert read_local_stack() is None


def test_an_error_in_the_block_stops_the_servers(tmp_path: Path) -> None:
    urls: list[str | None] = []

    def run_and_fail() -> None:
        with running_stack(data_dir=tmp_path, model_repository=tmp_path / "models", names=["mediamtx"]) as local:
            urls.append(local.rtsp_url)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_fail()
    assert urls[0] is not None
    with pytest.raises(CameraUnavailableError):
        mediamtx.ping(urls[0])
