"""The lifecycle of a service, with real processes and signals."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import asyncio, os, signal, sys
from framematch.core.errors import CatalogError, FramematchError
from framematch.core.lifecycle import run_service
from framematch.core.logging import configure_logging

async def finishes(stop):
    print("started", flush=True)
    await stop.wait()
    print("finished", flush=True)

async def hangs(stop):
    print("started", flush=True)
    await asyncio.Event().wait()

async def fails(stop):
    async def part():
        raise CatalogError("broken")
    async with asyncio.TaskGroup() as group:
        group.create_task(part())

async def breaks(stop):
    async def part(error):
        raise error
    async with asyncio.TaskGroup() as group:
        group.create_task(part(CatalogError("broken")))
        group.create_task(part(ZeroDivisionError()))

async def ends(stop):
    print("finished", flush=True)

def is_stopped_early(stop):
    os.kill(os.getpid(), signal.SIGTERM)
    return finishes(stop)

configure_logging("error", "json")
try:
    run_service(locals()[sys.argv[1]], shutdown_deadline_s=float(sys.argv[2]))
except FramematchError as error:
    print(type(error).__name__, error.message, flush=True)
    sys.exit(error.exit_code)
os.kill(os.getpid(), signal.SIGTERM)
"""


@contextmanager
def service(name: str, deadline_s: float = 10.0) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, name, str(deadline_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_service_finish(number: signal.Signals) -> None:
    with service("finishes") as process:
        assert read_line(process) == "started"
        process.send_signal(number)
        assert read_line(process) == "finished"
        assert process.wait(10) == 0


def test_a_service_that_does_not_finish_in_time_ends_with_an_error() -> None:
    with service("hangs", deadline_s=0.05) as process:
        assert read_line(process) == "started"
        process.send_signal(signal.SIGTERM)
        assert read_line(process).startswith("DeadlineExceededError the service was still busy 0.05 s")
        assert process.wait(10) == 1


def test_an_error_inside_a_task_group_is_raised_without_the_group() -> None:
    with service("fails") as process:
        assert read_line(process) == "CatalogError broken"
        assert process.wait(10) == 1


def test_a_signal_before_the_start_is_not_lost() -> None:
    with service("is_stopped_early") as process:
        assert [read_line(process), read_line(process)] == ["started", "finished"]
        assert process.wait(10) == 0


def test_a_service_may_end_by_itself_and_a_late_signal_changes_nothing() -> None:
    with service("ends") as process:
        assert read_line(process) == "finished"
        assert process.wait(10) == 0


def test_a_bug_is_not_hidden_by_one_of_our_errors() -> None:
    with service("breaks") as process:
        said = process.communicate(timeout=10)[1]
    assert process.returncode == 1
    assert "ZeroDivisionError" in said
