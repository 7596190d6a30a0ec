"""Runs a command, and makes every way in which it can end an exit code and at most one line."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from framematch.cli.errors import hint_of
from framematch.core.error_groups import describe, first_error, ungrouped_errors
from framematch.core.errors import FramematchError
from framematch.core.printable import printable, printable_lines
from framematch.core.redact import redact_url

Report = Callable[[str, str], None]
"""Takes the message and the hint of an error."""

FAILED, BUG, INTERRUPTED = 1, 70, 130
_DEBUG_NAMES = ("FRAMEMATCH_LOG__LEVEL", "LOG_LEVEL")


def exit_after(command: Callable[[], object]) -> None:
    """Run `command`, and exit. An error is one line on stderr; `LOG_LEVEL=debug` also shows a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the start
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # open until the end
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a terminal without Unicode shows what it can
    code = code_of(command)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # too late: Python's end would let it change the exit code
    _give_up_output()
    sys.exit(code)


def code_of(command: Callable[[], object], report: Report | None = None) -> int:
    """Run `command`; returns its exit code. An error goes to `report`, by default as one line to stderr."""
    report = report or _print_line
    try:
        with ungrouped_errors():
            return _run(command, report)
    except KeyboardInterrupt:
        return INTERRUPTED
    except FramematchError as error:
        report(error.message, hint_of(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001  # the last net: nobody is helped by a traceback that he did not ask for
        return _code_of_unexpected(first_error(error), report)


def _run(command: Callable[[], object], report: Report) -> int:
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, str):
            report(end.code, "")
            return FAILED
        return end.code or 0
    finally:
        sys.stdout.flush()  # an error here is the command's: a full disk, or nobody who reads
    return 0


def _code_of_unexpected(error: BaseException, report: Report) -> int:
    """Nobody reads the output any more; the system refuses something; or a bug."""
    if isinstance(error, BrokenPipeError):
        return FAILED
    if any(os.environ.get(name, "").lower() == "debug" for name in _DEBUG_NAMES):
        text = "".join(traceback.format_exception(error))
        with suppress(OSError):
            sys.stderr.write(printable_lines(redact_url(text)) + "\n")
    if isinstance(error, OSError) and error.strerror:
        where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "input or output failed"
        report(f"{where}: {error.strerror}", "Run it with LOG_LEVEL=debug to see where this happened")
        return FAILED
    report(f"this is a bug: {describe(error)}", "Run it with LOG_LEVEL=debug for the traceback, and report it")
    return BUG


def _print_line(message: str, hint: str) -> None:
    message, hint = printable(redact_url(message)), printable(redact_url(hint))
    with suppress(OSError):  # stderr may be closed or full too
        from rich.text import Text

        from framematch.cli.console import new_console

        line = Text.assemble(("framematch: ", "bold red"), f"{message}.")
        if hint:
            line.append(f" {hint}", style="dim")
        new_console(stderr=True, soft_wrap=True).print(line)


def _give_up_output() -> None:
    """Keep Python from writing once more, at its end, what could not be written."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
