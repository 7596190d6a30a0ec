"""What commands add to errors: the extra to install, the local servers, and no secrets."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from framematch.cli import app as cli
from framematch.cli import errors
from framematch.cli.app import app
from framematch.cli.errors import hint_of
from framematch.core.errors import (
    AddressNotSetError,
    FramematchError,
    KafkaUnavailableError,
    PrerequisiteError,
    SettingsError,
)

# A command, a package that it needs, and the extras that the error must name; tests/unit/test_imports.py has every
# command.
BLOCKED = {
    "edge --camera a=b.mp4 --dry-run": ("setproctitle", "edge"),
    "consume": ("faiss", "consumer,cpu"),
    "stack status": ("tritonclient", "stack"),
}
PROGRAM = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
sys.argv[0] = "framematch"
from framematch.__main__ import main
main()
"""


def run_without(packages: set[str], command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(packages=packages), *command.split()],
        env={**os.environ, "COLUMNS": "250", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", BLOCKED)
def test_a_command_without_its_packages_names_the_extra_in_one_line(command: str) -> None:
    package, extras = BLOCKED[command]
    done = run_without({package}, command)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"framematch: this command needs the Python package '{package}")
    assert line.endswith(f"Install it with: pip install 'framematch[{extras}]'")


def test_the_doctor_fails_without_the_packages_of_a_consumer_and_names_the_extra() -> None:
    done = run_without({"faiss"}, "doctor")
    assert done.returncode == 1
    [row] = [line for line in done.stdout.splitlines() if "Packages" in line]
    assert row.startswith("no")
    assert "pip install 'framematch[consumer,cpu]'" in row


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    done = run_without({"consumers"}, "consume")
    assert done.returncode == 70
    [line] = done.stderr.splitlines()
    assert line.startswith("framematch: this is a bug: ModuleNotFoundError: No module named 'consumers")


def test_a_traceback_of_any_command_hides_credentials() -> None:
    program = (
        "import sys; from framematch import __main__; from framematch.cli import app\n"
        "def fail(): raise OSError('cannot open mongodb://u:canary@h')\n"
        "app.main = fail; sys.argv = ['framematch', 'consume']; __main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "OSError: cannot open mongodb://***@h" in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["watch", "--camer=rtsp://u:canary@h/1"], ["rtsp://u:canary@h/1"], ["--x=rtsp://u:canary@h/1"],
     ["catalog", "list", "rtsp://u:canary@h/1"], ["edge", "rtsp://u:canary@h/1"]],
)  # fmt: skip
def test_wrong_arguments_are_quoted_without_credentials(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "canary" not in done.output


def raise_error(error: BaseException) -> Callable[..., Any]:
    def run(**_options: object) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code"), [(FramematchError("bad [cpu]", hint="do [this]"), 1), (SettingsError("bad [cpu]"), 2)]
)
@pytest.mark.parametrize("grouped", [False, True])
def test_an_error_is_one_line_with_its_exit_code_and_its_brackets(
    error: FramematchError,
    code: int,
    grouped: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raised = ExceptionGroup("tasks", [error]) if grouped else error
    monkeypatch.setattr(cli, "app", raise_error(raised))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert capsys.readouterr().err == f"framematch: bad [cpu].{' do [this]' if error.hint else ''}\n"


UNREACHABLE = KafkaUnavailableError("Kafka does not answer", hint="Check the broker", unreachable=True)
NOT_SET = AddressNotSetError("triton.url is not set", hint="Set TRITON_URL")
REFUSED = KafkaUnavailableError("Kafka refuses us", hint="Check the password")


@pytest.mark.parametrize("error", [UNREACHABLE, NOT_SET])
def test_a_server_that_does_not_run_can_be_started_on_this_machine(error: FramematchError) -> None:
    assert hint_of(error) == f"{error.hint}, or start the servers on this machine with 'framematch stack up'"


@pytest.mark.parametrize("error", [REFUSED, SettingsError("bad", hint="Mend it"), PrerequisiteError("missing")])
def test_other_errors_keep_their_hint(error: FramematchError) -> None:
    assert hint_of(error) == error.hint


@pytest.mark.parametrize("package", ["pymongo", "tritonclient"])
@pytest.mark.parametrize("error", [UNREACHABLE, NOT_SET])
def test_local_servers_are_not_offered_without_the_packages_of_their_extra(
    error: FramematchError, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == package else find_spec(name))
    assert hint_of(error) == error.hint


def test_a_console_prints_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from framematch.cli.console import new_console  # noqa: PLC0415  # after capsys replaced the stream

    console: Console = new_console()
    console.print("pip install 'framematch[consumer,cpu]' :smile:")
    assert capsys.readouterr().out == "pip install 'framematch[consumer,cpu]' :smile:\n"
