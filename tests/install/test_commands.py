"""Every command in every environment: it explains itself, and says which extra it lacks."""

from collections.abc import Callable

import pytest

from tests.install.conftest import RECIPES
from tests.install.environments import Installation, missing_packages

Installed = Callable[[str], Installation]

# Runs the installed command's own entry point for every subcommand, in one process.
_EVERY_HELP = """
import sys
from importlib.metadata import entry_points
import typer.main
from framematch.cli.app import app

(script,) = entry_points(group="console_scripts", name="framematch")
main = script.load()

def paths(command, path=()):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from paths(child, (*path, name))

for path in paths(typer.main.get_command(app)):
    sys.argv = ["framematch", *path, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (path, end.code)
    print("HELPED", *path)
"""
# A command for each extra, with arguments that lead as far as its imports; tests/unit/test_imports.py has them all.
NEEDS = {
    "edge": ("edge", ("edge", "--camera", "till-1=clip.mp4", "--dry-run")),
    "consume": ("consumer,cpu", ("consume",)),
    "api": ("api,cpu", ("api",)),
    "archive": ("archive", ("archive",)),
    "model build": ("model", ("model", "build", "--from", ".")),
    "stack up": ("stack", ("stack", "up")),
}
COMMANDS = {
    "edge",
    "consume",
    "api",
    "api-key",
    "archive",
    "watch",
    "cameras",
    "deadletter",
    "calibration",
    "catalog",
    "search",
    "replay",
    "model",
    "topics",
    "stack",
    "doctor",
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_requirement_is_met(name: str, installed: Installed) -> None:
    assert missing_packages(installed(name)) == ""


# One more extra takes nothing away, so an environment of one extra adds nothing to the base.
@pytest.mark.parametrize("name", ["base", *(name for name in RECIPES if name.startswith("image ")), "all"])
def test_every_command_explains_itself(name: str, installed: Installed) -> None:
    done = installed(name).script(_EVERY_HELP)
    assert done.code == 0, done.output
    helped = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("HELPED ")}
    assert helped >= COMMANDS


def test_the_installed_command_names_its_version(installed: Installed) -> None:
    assert installed("base").framematch("--version").stdout.startswith("framematch 0.")


@pytest.mark.parametrize("command", NEEDS)
def test_a_command_whose_extra_is_missing_names_it_in_one_line(command: str, installed: Installed) -> None:
    extra, arguments = NEEDS[command]
    done = installed("base").framematch(*arguments)
    assert done.code == 1, done.output
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"pip install 'framematch[{extra}]'" in done.stderr


def test_all_of_it_runs_under_each_supported_python(other_python: Installation) -> None:
    assert missing_packages(other_python) == ""
    services = "consumers.service, edge.pipeline, framematch.api.service, framematch.archive.service"
    services += ", framematch.cli.app, framematch.stack.control"
    modules = f"{services}, framematch.catalog.building.build"
    done = other_python.script(f"import {modules}\n{_EVERY_HELP}")
    assert done.code == 0, done.output
