"""However a command ends: an exit code, and at most one line on stderr that a terminal can show."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from framematch.cli.exits import exit_after
from framematch.core.errors import FramematchError, SettingsError

BUG = "framematch: this is a bug: {}. Run it with LOG_LEVEL=debug for the traceback, and report it\n"
WHERE = "Run it with LOG_LEVEL=debug to see where this happened"
FULL = f"framematch: input or output failed: No space left on device. {WHERE}\n"


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def code_of(command: Callable[[], object]) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        exit_after(command)
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FramematchError("no", hint="do"), 1, "framematch: no. do\n"),
        (ExceptionGroup("g", [ExceptionGroup("h", [SettingsError("no")])]), 2, "framematch: no.\n"),
        (ValueError("odd\nvalue"), 70, BUG.format("ValueError: odd value")),
        (RecursionError(), 70, BUG.format("RecursionError")),
        (ExceptionGroup("g", [FramematchError("no"), KeyError("k")]), 70, BUG.format("KeyError: 'k'")),
        (ValueError("mongodb://u:canary@h"), 70, BUG.format("ValueError: mongodb://***@h")),
        (ValueError("\x1b[31mred\u202e"), 70, BUG.format("ValueError: ?[31mred?")),
        (PermissionError(13, "Permission denied", "/x/y"), 1, f"framematch: /x/y: Permission denied. {WHERE}\n"),
        (PermissionError(13, "denied", b"/x/\xff"), 1, f"framematch: /x/\\xff: denied. {WHERE}\n"),
        (OSError(28, "No space left on device"), 1, FULL),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
        (ExceptionGroup("g", [BrokenPipeError(32, "Broken pipe")]), 1, ""),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("no"), 1, "framematch: no.\n"),
    ],
)  # fmt: skip
def test_an_error_is_an_exit_code_and_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    assert code_of(raising(error)) == code
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("name", ["LOG_LEVEL", "FRAMEMATCH_LOG__LEVEL"])
@pytest.mark.parametrize("error", [ValueError("mongodb://u:canary@h \x1b[31m"), PermissionError(13, "no", "/x")])
def test_the_traceback_is_shown_when_asked_for(
    name: str, error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "DEBUG")
    code_of(raising(error))
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert "canary" not in printed
    assert "\x1b" not in printed


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m framematch"
    return subprocess.run(
        ["sh", "-c", command.replace("framematch", program)],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
        encoding="utf-8",
    )


@pytest.mark.parametrize("command", ["edge --help", "topics plan --cameras 9 --fps 5"])
def test_a_full_disk_behind_stdout_is_one_line(command: str) -> None:
    done = run(f"framematch {command} > /dev/full")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", FULL)


@pytest.mark.parametrize("end", ["| true", ">&- 2>&-"])
def test_nobody_has_to_read_the_output(end: str) -> None:
    done = run(f"framematch topics plan --cameras 9 --fps 5 {end}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii", "COLUMNS": "1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "many", "TERM": ""},
    ],
)
def test_an_odd_terminal_shows_what_it_can(environment: dict[str, str]) -> None:
    done = run("framematch edge --camera a=/tmp/\u65e5\u672c.mp4; framematch edge --help", **environment)
    [line] = done.stderr.splitlines()
    assert json.loads(line)["error"].startswith("camera a: no file or folder")
    assert "Traceback" not in done.stdout + done.stderr


def test_the_help_of_all_commands_imports_none_of_them() -> None:
    program = (
        "import sys; from framematch.__main__ import main; sys.argv = ['framematch', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('rich', 'pydantic', 'structlog', 'aiokafka', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_sigterm_while_python_ends_does_not_change_the_exit_code() -> None:
    program = """
import atexit, os, signal
from framematch.cli.exits import exit_after
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
exit_after(lambda: None)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
