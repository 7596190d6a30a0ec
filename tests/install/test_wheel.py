"""What is in the wheel: the packages of the product and nothing else."""

import zipfile
from pathlib import Path

import pytest

from tests.install.environments import ROOT

PACKAGES = ("consumers", "edge", "framematch")


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_three_packages_and_nothing_else(names: set[str]) -> None:
    source = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == source


def test_the_wheel_says_that_it_is_typed_and_carries_its_licences(names: set[str]) -> None:
    assert {"edge/py.typed", "consumers/py.typed", "framematch/py.typed"} <= names
    for file in ("LICENSE", "THIRD_PARTY_NOTICES.md"):
        assert any(name.endswith(f".dist-info/licenses/{file}") for name in names)


def test_the_wheel_carries_what_the_local_servers_are_built_from(names: set[str]) -> None:
    files = {"kafka-pom.xml", "mongodb-pom.xml", "MongoServerMain.java", "kafka-log4j2.properties"}
    files |= {"triton-requirements.txt", "go-requirements.txt", "launcher.py"}
    assert {f"framematch/stack/{file}" for file in files} <= names


def test_the_wheel_carries_the_schemas_of_its_events(names: set[str]) -> None:
    schemas = {"match.v1.json", "sighting.v1.json", "camera-status.v1.json", "camera-settings.v1.json", "asyncapi.yaml"}
    assert {f"framematch/core/schemas/{schema}" for schema in schemas} <= names
