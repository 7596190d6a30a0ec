"""Finds programs of the operating system, and installs missing ones with apt-get where permitted."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from framematch.core.errors import PrerequisiteError
from framematch.core.paths import cache_dir
from framematch.stack.cache import Report, locked, run_tool

T = TypeVar("T")

MIN_JAVA_VERSION = 17  # for Kafka 4
JDK_PACKAGES = ("openjdk-17-jdk-headless", "openjdk-21-jdk-headless")
"""The first one that the distribution has is installed."""
_OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True)
class Jdk:
    """The programs of a Java development kit, and its version and build as `java -version` prints them."""

    java: str
    javac: str
    build: str


def java_kit(report: Report = print) -> Jdk:
    """A JDK of version 17 or newer.

    Raises:
        PrerequisiteError: there is none; the hint has the command that installs it.
    """
    return provide(f"a JDK of version {MIN_JAVA_VERSION} or newer", _find_jdk, JDK_PACKAGES, report)


def maven(report: Report = print) -> str:
    """The path of `mvn`.

    Raises:
        PrerequisiteError: it is missing; the hint has the command that installs it.
    """
    return provide("Maven (mvn)", lambda: shutil.which("mvn"), ("maven",), report)


def provide(what: str, find: Callable[[], T | None], packages: Sequence[str], report: Report) -> T:
    """Return what `find` finds; if that is nothing, first install one of `packages` where permitted.

    Raises:
        PrerequisiteError: it is missing, and this is not root on Debian or Ubuntu.
    """
    if (found := find()) is not None:
        return found
    if not (_is_debian() and os.geteuid() == 0):
        raise PrerequisiteError(f"{what} is not installed", hint=_advice(packages))
    with locked(cache_dir() / "apt-get.lock"):
        if (found := find()) is None:
            report(f"{what} is missing: installing it with apt-get (usually under two minutes)")
            run_tool(["apt-get", "update", "-q"], what="apt-get update")
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            run_tool(_install_line(packages), what=f"installing {what}", environment=environment)
            found = find()
    if found is None:
        raise PrerequisiteError(f"{what} is still not found after its installation", hint="Check PATH and JAVA_HOME")
    return found


def java_version(output: str) -> int | None:
    """The major version in the output of `java -version`; 8 for "1.8.0"."""
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match[1]) if match else None


def _find_jdk() -> Jdk | None:
    home = os.environ.get("JAVA_HOME")
    path = os.pathsep.join(filter(None, (f"{home}/bin" if home else "", os.environ.get("PATH", os.defpath))))
    java, javac = shutil.which("java", path=path), shutil.which("javac", path=path)
    if java is None or javac is None:
        return None
    result = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    build = result.stdout + result.stderr
    version = java_version(build)
    return Jdk(java, javac, build) if version is not None and version >= MIN_JAVA_VERSION else None


def _is_debian() -> bool:
    if shutil.which("apt-get") is None or not _OS_RELEASE.exists():
        return False
    release = _OS_RELEASE.read_text(encoding="utf-8")
    return re.search(r"^ID(_LIKE)?=.*\b(debian|ubuntu)\b", release, re.MULTILINE) is not None


def _advice(packages: Sequence[str]) -> str:
    if _is_debian():
        return f"Run: sudo {' '.join(_install_line(packages))}"
    return f"Install it with this system's package manager (on Debian: {' '.join(_install_line(packages))})"


def _install_line(packages: Sequence[str]) -> list[str]:
    known = (name for name in packages if _apt_knows(name))
    return ["apt-get", "install", "-y", "--no-install-recommends", next(known, packages[0])]


def _apt_knows(package: str) -> bool:
    if shutil.which("apt-cache") is None:
        return False
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0
