"""Checks the Dockerfiles: copied files exist, installed packages are locked, no image runs as root."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from framematch.core.settings_environment import known_environment_names

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy" / "docker"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
FLAVOURS = ("cpu", "gpu")

each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continuation lines joined."""

    name: str
    text: str


def instructions(path: Path, flavour: str = "cpu") -> list[Instruction]:
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE)) | {"FLAVOUR": flavour}
    for name, value in arguments.items():
        lines = [line.replace(f"${{{name}}}", value) for line in lines]
    return [Instruction(*line.split(maxsplit=1)) for line in lines]


def copied(path: Path, flavour: str) -> list[str]:
    """Return the sources that are copied from the build context."""
    copies = [shlex.split(i.text) for i in instructions(path, flavour) if i.name == "COPY"]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def requirements(path: Path) -> dict[str, set[str]]:
    """Return the pinned packages of a lock file with their hashes."""
    blocks = re.split(r"^(?=[a-z0-9])", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.IGNORECASE)
    pins = [(re.match(r"\S+==\S+", block), set(re.findall(r"sha256:\w+", block))) for block in blocks]
    return {match[0]: hashes for match, hashes in pins if match}


def test_there_is_an_image_for_each_service_and_triton() -> None:
    assert [path.stem for path in DOCKERFILES] == ["api", "consumer", "edge", "triton"]


@each_dockerfile
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_copied_file_exists(path: Path, flavour: str) -> None:
    sources = copied(path, flavour)

    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


@each_dockerfile
def test_build_context_contains_every_copied_file(path: Path) -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = tuple(line.removeprefix("!/") for line in ignore if line.startswith("!/"))

    assert "*" in ignore
    assert all(source.startswith(kept) for flavour in FLAVOURS for source in copied(path, flavour))


@each_dockerfile
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_installed_lock_is_copied(path: Path, flavour: str) -> None:
    runs = " ".join(i.text for i in instructions(path, flavour) if i.name == "RUN")
    locks = {Path(name).name for name in re.findall(r"-r (\S+)", runs)}

    assert locks
    assert locks <= {Path(source).name for source in copied(path, flavour)}


@each_dockerfile
def test_packages_are_installed_by_hash_or_without_dependencies(path: Path) -> None:
    runs = [i.text for i in instructions(path) if i.name == "RUN"]
    installs = [part for run in runs for part in run.split("&&") if re.search(r"\bpip3?\b.* (install|wheel)\b", part)]

    assert installs
    assert [part for part in installs if "--require-hashes" not in part and "--no-deps" not in part] == []


@each_dockerfile
def test_base_images_have_a_version(path: Path) -> None:
    sources = [i.text.split() for i in instructions(path) if i.name == "FROM"]
    stages = {words[2] for words in sources if len(words) > 1}
    images = [words[0] for words in sources if words[0] not in stages]

    assert images
    assert all(re.search(r":\d+\.\d+", image) for image in images)


@each_dockerfile
def test_no_image_runs_as_root(path: Path) -> None:
    users = [i.text for i in instructions(path) if i.name == "USER"]

    assert users
    assert not {"root", "0", "0:0"} & set(users)


@each_dockerfile
def test_every_environment_variable_is_a_known_setting(path: Path) -> None:
    names = {
        name for i in instructions(path) if i.name == "ENV" for name in re.findall(r"\bFRAMEMATCH_\w+(?==)", i.text)
    }

    assert names <= known_environment_names()


def test_tools_lock_repeats_the_development_lock() -> None:
    development = requirements(ROOT / "requirements" / "dev.txt")
    tools = requirements(FOLDER / "tools-requirements.txt")

    assert tools
    assert {name: development.get(name) for name in tools} == tools


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_lock_of_the_tools_changes_no_version_of_the_consumer(flavour: str) -> None:
    consumer = requirements(ROOT / "requirements" / f"consumer-{flavour}.txt")
    tools = requirements(FOLDER / "tools-requirements.txt")
    names = {pin.partition("==")[0] for pin in consumer}

    assert {pin for pin in tools if pin.partition("==")[0] in names} <= consumer.keys()


def test_triton_lock_repeats_the_lock_of_the_local_stack() -> None:
    stack = requirements(ROOT / "framematch" / "stack" / "triton-requirements.txt")
    triton = requirements(FOLDER / "triton-requirements.txt")

    assert {name.partition("==")[0] for name in triton} >= {"numpy", "onnxruntime"}
    assert {name: stack.get(name) for name in triton} == triton
