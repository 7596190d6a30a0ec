"""Choosing servers, describing them, and who is told what when something cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from framematch.cli.stack import app
from framematch.core.errors import UsageError
from framematch.core.local_stack import LocalStack, read_local_stack, write_local_stack
from stack import control
from stack.cache import locked
from stack.up import describe, make_servers, running_stack


def local(pid: int) -> LocalStack:
    """A stack of nothing under this supervisor."""
    return LocalStack(pid, None, None, None, None, None, None, "")


def test_a_server_that_nobody_knows_is_wrong_usage(tmp_path: Path) -> None:
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


def test_a_process_that_is_no_supervisor_is_neither_taken_for_one_nor_ended() -> None:
    write_local_stack(local(os.getpid()))
    assert control.running_stack() is None
    assert control.down() is False


def test_a_supervisor_that_ended_and_was_not_waited_for_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        write_local_stack(local(ended.pid))
        assert read_local_stack() is None


def test_down_with_nothing_running_says_so_and_succeeds() -> None:
    result = CliRunner().invoke(app, ["down"])
    assert (result.exit_code, result.stdout) == (0, "No local servers are running.\n")


def test_status_with_nothing_running_fails_and_says_how_to_start() -> None:
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    assert "framematch stack up" in result.stdout


def test_an_installed_package_without_the_checkout_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "stack.control")
    monkeypatch.setitem(sys.modules, "stack", None)
    result = CliRunner().invoke(app, ["up"])
    assert isinstance(result.exception, UsageError)
    assert "source checkout" in result.exception.message
    assert "KAFKA_BOOTSTRAP_SERVERS, MONGODB_URI and TRITON_URL" in result.exception.hint
