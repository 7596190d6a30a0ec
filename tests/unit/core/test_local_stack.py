"""The state file of the local stack, and which process a recorded process id belongs to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from framematch.core.errors import UsageError
from framematch.core.local_stack import process_start, read_local_stack, state_file
from framematch.core.settings_sources import load_settings


def test_a_process_keeps_its_start() -> None:
    assert process_start(os.getpid()) == process_start(os.getpid())


def test_two_processes_have_different_starts() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        start = process_start(other.pid)
        other.kill()
    assert start is not None
    assert start != process_start(os.getpid())


def test_a_process_that_does_not_exist_has_none() -> None:
    assert process_start(2**22 + 1) is None


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe", b'{"supervisor_pid": "one"}', b"[]"])
def test_a_damaged_state_file_is_read_as_no_state(content: bytes) -> None:
    state_file().write_bytes(content)
    assert read_local_stack() is None


@pytest.mark.parametrize("kind", ["file", "below a file", "folder"])
def test_a_state_folder_that_cannot_be_used_is_wrong_usage(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state"
    if kind == "folder":
        (folder / "stack.json").mkdir(parents=True)
    else:
        folder.touch()
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(folder / "x" if kind == "below a file" else folder))
    with pytest.raises(UsageError, match=r"cannot read the state file .*\. Set FRAMEMATCH_STATE_DIR to a folder of"):
        load_settings()


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FRAMEMATCH_STATE_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UsageError, match=r"no home folder\. Set FRAMEMATCH_STATE_DIR"):
        load_settings()
