"""Which servers are started, how they are described, and the errors of `framematch stack`."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from framematch.cli.stack import app
from framematch.core.errors import FramematchError, SettingsError, UsageError
from framematch.core.local_stack import LocalStack, process_start, read_local_stack, state_file, write_local_stack
from framematch.core.settings_sources import load_settings
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


@pytest.mark.parametrize("command", ["up", "down", "status"])
@pytest.mark.parametrize("kind", ["a file", "a folder in place of the state file"])
def test_a_state_folder_that_cannot_be_used_is_one_line_that_names_it(
    command: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state"
    if kind == "a file":
        folder.touch()
    else:
        (folder / "stack.json").mkdir(parents=True)
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(folder))
    result = CliRunner().invoke(app, [command])
    assert isinstance(result.exception, FramematchError)
    assert str(folder) in result.exception.message
    assert "FRAMEMATCH_STATE_DIR" in result.exception.hint


def test_the_state_of_another_user_is_one_line_for_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    write_local_stack(local(1, None))
    denied = PermissionError(errno.EACCES, "Permission denied", str(state_file()))
    monkeypatch.setattr(Path, "read_bytes", lambda _path: raise_(denied))
    with pytest.raises(SettingsError, match=r"stack\.json: Permission denied"):
        load_settings()


def raise_(error: Exception) -> bytes:
    raise error


def test_a_supervisor_that_could_not_write_why_it_failed_may_have_had_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = tmp_path / "failure.json"
    failure.touch()
    assert "ended unexpectedly" in control.start_error(failure).message
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=4096))
    assert control.start_error(failure).message == f"the disk of {tmp_path} is full"


def test_down_without_a_running_stack_succeeds() -> None:
    result = CliRunner().invoke(app, ["down"])
    assert (result.exit_code, result.stdout) == (0, "No local servers are running.\n")


def test_status_without_a_running_stack_fails_and_says_how_to_start_one() -> None:
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    assert "framematch stack up" in result.stdout
