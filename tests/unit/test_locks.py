"""The locks: one version of each package, so that what is tested under one Python is what ships for the others."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("requirements", "deploy/docker", "framematch/stack")
    for path in (ROOT / folder).glob("*.txt")
)
# The platforms on which framematch runs, under each Python that it supports.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix",
         "implementation_name": "cpython", "platform_python_implementation": "CPython"}  # fmt: skip


def locked(lock: str) -> list[Requirement]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return [Requirement(line) for line in re.findall(r"^([A-Za-z0-9][^\\#\n]*==[^\\#\n]+)", text, re.MULTILINE)]


def applies(marker: Marker | None, python: str) -> bool:
    environment = {**LINUX, "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return marker is None or marker.evaluate(environment)


def test_every_lock_is_checked() -> None:
    assert {"requirements/dev.txt", "requirements/edge.txt", "deploy/docker/tools-requirements.txt"} <= set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_one_version_of_each_package_for_all_pythons(lock: str) -> None:
    versions: dict[str, set[str]] = defaultdict(set)
    for requirement in locked(lock):
        if any(applies(requirement.marker, python) for python in PYTHONS):
            versions[canonicalize_name(requirement.name)].add(str(requirement.specifier))
    assert versions
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_an_exact_version_with_hashes(lock: str) -> None:
    blocks = re.findall(r"^[A-Za-z0-9].*(?:\n    .*)*", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
    assert blocks
    assert [block for block in blocks if "==" not in block or "--hash=sha256:" not in block] == []
