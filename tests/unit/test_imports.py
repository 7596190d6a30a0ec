"""Each command works with the packages of its own extras: it imports no package that they leave out.

The development environment has the packages of all extras, so each test hides those that the extras under test do not
install. Which these are is read from pyproject.toml.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from framematch.cli.app import app
from framematch.cli.lazy import LazyCommand

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# By extras: the modules of the commands (in framematch.cli).
COMMANDS = {
    "": ("cameras", "deadletter", "topics", "watch"),
    "edge": ("edge",),
    "archive": ("archive",),
    "api,cpu": ("api", "api_key"),
    "consumer,cpu": (
        "calibration",
        "catalog_build",
        "catalog_calibrate",
        "catalog_export",
        "catalog_import",
        "consume",
        "doctor",
        "models.listing",
        "product_changes",
        "product_list",
        "replay",
        "review_commands",
        "search",
        "snapshots.changes",
        "snapshots.listing",
        "snapshots.prune",
        "snapshots.shadow",
        "snapshots.shadow_report",
    ),
    "model": ("models.adapt", "models.build", "models.check"),
    "stack": ("stack",),
}
LIBRARY = "framematch.core.subscribe"

# Each container's locks, and the extras whose commands it runs. FAISS comes in two packages with one module.
LOCKS = {
    ("requirements/edge.txt",): ("edge", "tracing"),
    ("requirements/api-cpu.txt",): ("api", "archive", "cpu", "heif", "s3", "tracing"),
    ("requirements/consumer-cpu.txt",): ("consumer", "cpu", "s3", "tracing"),
    ("requirements/consumer-gpu.txt",): ("consumer", "gpu", "s3", "tracing"),
    ("requirements/consumer-cpu.txt", "deploy/docker/tools-requirements.txt"): ("consumer", "cpu", "model", "tracing"),
    ("requirements/consumer-gpu.txt", "deploy/docker/tools-requirements.txt"): ("consumer", "gpu", "model", "tracing"),
}


def requirements_of(extras: Collection[str]) -> list[Requirement]:
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [Requirement(line) for line in lines]


def installed_by(extras: Collection[str]) -> set[str]:
    """All distributions that `pip install framematch[extras]` installs, but those this environment lacks."""
    found: set[tuple[str, str]] = set()
    waiting = [(item.name, extra) for item in requirements_of(extras) for extra in ("", *item.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in found:
            found.add((name, extra))
            waiting += dependencies(name, extra)
    return {canonicalize_name(name) for name, _extra in found}


@cache
def dependencies(name: str, extra: str) -> list[tuple[str, str]]:
    environment = {"extra": extra}
    try:
        lines = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return []
    needed = [item for item in lines if item.marker is None or item.marker.evaluate(environment)]
    return [(item.name, inner) for item in needed for inner in ("", *item.extras)]


def hidden_from(extras: Collection[str]) -> list[str]:
    """Top-level modules of everything else; coverage stays, which may measure the program."""
    kept = {*installed_by(extras), "framematch", "coverage"}
    return [
        module
        for module, owners in packages_distributions().items()
        if kept.isdisjoint(canonicalize_name(owner) for owner in owners)
    ]


def split(extras: str) -> list[str]:
    return [extra for extra in extras.split(",") if extra]


def command_modules(command: Any) -> Iterator[str]:
    """The modules of all commands below this one. Any: Typer has no public types for commands."""
    if inner := getattr(command, "commands", {}):
        for one in inner.values():
            yield from command_modules(one.load() if isinstance(one, LazyCommand) else one)
    else:
        yield command.callback.__module__.removeprefix("framematch.cli.")


def run_with(
    extras: str, modules: Collection[str] = (), commands: Collection[str] = ()
) -> subprocess.CompletedProcess[str]:
    asked = {"hidden": hidden_from(split(extras)), "modules": list(modules), "commands": list(commands)}
    program = [sys.executable, "-m", "tests.import_program", json.dumps(asked)]
    environment = {**os.environ, "TRITON_URL": "127.0.0.1:1"}
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("extras", COMMANDS, ids=lambda extras: extras or "no extra")
def test_the_commands_import_nothing_that_their_extras_leave_out(extras: str) -> None:
    modules = [f"framematch.cli.{name}" for name in COMMANDS[extras]]

    done = run_with(extras, modules=[*modules, LIBRARY])

    assert done.returncode == 0, done.stderr


def test_help_needs_no_extra() -> None:
    commands = ["--help", "edge --help", "consume --help", "catalog build --help", "doctor --help"]

    done = run_with("", commands=commands)

    assert done.stdout.splitlines() == ["None"] * len(commands), done.stderr


def test_every_command_is_in_the_table() -> None:
    assert set(command_modules(typer.main.get_command(app))) == {name for names in COMMANDS.values() for name in names}


def test_a_command_without_its_packages_names_the_extras_that_bring_them() -> None:
    commands = {
        "edge --camera till-1=0": "edge",
        "consume": "consumer,cpu",
        "archive": "archive",
        "catalog import none.csv": "consumer,cpu",
        "catalog list": "consumer,cpu",
        "catalog shadow off": "consumer,cpu",
        "catalog build": "consumer,cpu",
        "model build --from none": "model",
        "model check --from none": "model",
        "model list": "consumer,cpu",
        "model prune": "consumer,cpu",
        "search --text milk": "consumer,cpu",
        "replay --since 1h --snapshot active": "consumer,cpu",
        "stack status": "stack",
        "stack up": "stack",
    }

    done = run_with("", commands=commands)

    assert done.returncode == 0, done.stderr
    hints = [line.rpartition("pip install ")[2] for line in done.stdout.splitlines()]
    assert hints == [f"'framematch[{extras}]'" for extras in commands.values()]


@pytest.mark.parametrize(("locks", "extras"), LOCKS.items(), ids=[" ".join(locks) for locks in LOCKS])
def test_a_container_locks_all_that_its_commands_need(locks: tuple[str, ...], extras: tuple[str, ...]) -> None:
    text = "".join((ROOT / lock).read_text(encoding="utf-8") for lock in locks)
    locked = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9][\w.-]*)==", text, re.MULTILINE)}

    assert locked
    assert installed_by(extras) - locked - {"framematch"} == set()
