"""Which servers are started, how they are described, and the errors of `framematch stack`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from framematch.cli.stack import app
from framematch.core.errors import UsageError
from framematch.core.local_stack import LocalStack, process_start, read_local_stack, write_local_stack
from framematch.stack import control
from framematch.stack.cache import locked
from framematch.stack.up import describe, make_servers, running_stack


def local(pid: int, start: str | None) -> LocalStack:
    """A stack without servers, of this supervisor."""
    return LocalStack(pid, None, None, None, None, None, None, "", start)


def test_an_unknown_server_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'mongo'.*Choose from kafka, triton, mongodb, mediamtx"):
        make_servers(["kafka", "mongo"], data_dir=tmp_path, model_repository=tmp_path)


def test_servers_that_are_left_out_have_no_address(tmp_path: Path) -> None:
    servers = make_servers(["mediamtx"], data_dir=tmp_path, model_repository=tmp_path)
    described = describe(servers, log_dir=tmp_path)
    assert described.rtsp_url == servers[0].address
    assert (described.kafka_bootstrap_servers, described.mongodb_uri, described.triton_url) == (None, None, None)


def test_a_data_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    stack = running_stack(data_dir=tmp_path, model_repository=tmp_path, names=["mediamtx"])
    with locked(tmp_path / "lock"), pytest.raises(UsageError, match="another process runs servers"), stack:
        pass


def test_a_later_process_with_the_id_of_the_supervisor_is_neither_taken_for_it_nor_stopped() -> None:
    write_local_stack(local(os.getpid(), "another boot 4711"))
    assert read_local_stack() is None
    assert control.down() is False


def test_a_supervisor_that_is_a_zombie_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as ended:
        write_local_stack(local(ended.pid, process_start(ended.pid)))
        assert read_local_stack() is not None
        ended.kill()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert read_local_stack() is None


def test_this_process_is_described_as_the_running_supervisor(tmp_path: Path) -> None:
    write_local_stack(
        describe(make_servers(["mediamtx"], data_dir=tmp_path, model_repository=tmp_path), log_dir=tmp_path)
    )
    found = read_local_stack()
    assert found is not None
    assert found.supervisor_pid == os.getpid()


def test_down_without_a_running_stack_succeeds() -> None:
    result = CliRunner().invoke(app, ["down"])
    assert (result.exit_code, result.stdout) == (0, "No local servers are running.\n")


def test_status_without_a_running_stack_fails_and_says_how_to_start_one() -> None:
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    assert "framematch stack up" in result.stdout
