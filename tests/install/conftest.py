"""Every way to install framematch, each made once a run and shared by all test processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.install.environments import Installation, Recipe, build_wheel, install

# What the documentation tells users to install, every extra by itself, and what the Dockerfiles install.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("base"),
        Recipe("edge", ("edge",)),
        Recipe("consumer,cpu", ("consumer", "cpu")),
        Recipe("model", ("model",)),
        Recipe("api,cpu", ("api", "cpu")),
        Recipe("archive", ("archive",)),
        Recipe("tracing", ("tracing",)),
        Recipe("train", ("train",)),
        Recipe("stack", ("stack",)),
        Recipe("all", ("all",)),
        Recipe("image edge", locks=("requirements/edge.txt",)),
        Recipe("image api", locks=("requirements/api-cpu.txt",)),
        Recipe("image consumer-cpu", locks=("requirements/consumer-cpu.txt",)),
        Recipe("image consumer-gpu", locks=("requirements/consumer-gpu.txt",)),
        Recipe("image tools", locks=("requirements/consumer-cpu.txt", "deploy/docker/tools-requirements.txt")),
    )
}


@pytest.fixture(scope="session")
def shared_folder(run_folder: Path) -> Path:
    """A folder that all processes of this run share."""
    return run_folder / "installs"


@pytest.fixture(scope="session")
def wheel(shared_folder: Path) -> Path:
    """The wheel of this checkout."""
    return build_wheel(shared_folder / "wheel")


@pytest.fixture(scope="session")
def installed(wheel: Path, shared_folder: Path) -> Callable[[str], Installation]:
    """The environment with this name in RECIPES."""

    def get(name: str) -> Installation:
        return install(RECIPES[name], wheel, shared_folder / name.replace(",", "-").replace(" ", "-"))

    return get


RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"  # the Python of all RECIPES


@pytest.fixture(params=[version for version in ("3.11", "3.12", "3.13", "3.14") if version != RUNNING])
def other_python(request: pytest.FixtureRequest, wheel: Path, shared_folder: Path) -> Installation:
    """Everything that services need, under another version of Python than that of the tests."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} on this machine")
    recipe = Recipe(f"python{request.param}", ("all",), python=python)
    return install(recipe, wheel, shared_folder / recipe.name)


def find_python(version: str) -> str | None:
    """An interpreter of this version: on the path, or installed by pyenv, whose shims on the path run one version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    for candidate in (str(found) for found in candidates if found):
        done = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if done.stdout.startswith(f"Python {version}."):
            return candidate
    return None
