"""Missing programs are installed by root on Debian, and named with the command to install them elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from framematch.core.errors import PrerequisiteError
from framematch.stack import prerequisites
from framematch.stack.golang import go_version
from framematch.stack.prerequisites import java_version, maven, provide

DEBIAN = "ID=debian\n"
UBUNTU_CHILD = "ID=linuxmint\nID_LIKE=ubuntu\n"
FEDORA = "ID=fedora\n"


def silent(_line: str) -> None:
    """Report nothing."""


def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, release: str, uid: int) -> None:
    """Simulate another distribution and user, with an apt-get that knows no package."""
    (tmp_path / "os-release").write_text(release)
    monkeypatch.setattr(prerequisites, "_OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(prerequisites, "_apt_knows", lambda _package: False)
    monkeypatch.setattr("shutil.which", lambda name, **_: "/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setenv("FRAMEMATCH_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("release", [DEBIAN, UBUNTU_CHILD])
def test_without_root_the_hint_is_the_command_to_run(
    release: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, release=release, uid=1000)
    with pytest.raises(PrerequisiteError) as caught:
        maven(silent)
    assert caught.value.message == "Maven (mvn) is not installed"
    assert caught.value.hint == "Run: sudo apt-get install -y --no-install-recommends maven"


def test_on_another_distribution_nothing_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, release=FEDORA, uid=0)
    with pytest.raises(PrerequisiteError, match="package manager"):
        maven(silent)


def test_root_on_debian_installs_it_after_a_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, release=DEBIAN, uid=0)
    said: list[str] = []
    ran: list[str] = []

    def run_tool(command: Sequence[str], **_options: object) -> str:
        assert said, "it is said before anything is installed"
        ran.append(" ".join(command))
        return ""

    monkeypatch.setattr(prerequisites, "run_tool", run_tool)
    found = provide("a thing", lambda: "/bin/thing" if len(ran) == 2 else None, ("thing",), said.append)
    assert found == "/bin/thing"
    assert ran == ["apt-get update -q", "apt-get install -y --no-install-recommends thing"]


def test_an_old_jdk_counts_as_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for program in ("java", "javac"):
        (tmp_path / program).write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "os-release").write_text(FEDORA)
    monkeypatch.setattr(prerequisites, "_OS_RELEASE", tmp_path / "os-release")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(PrerequisiteError, match="JDK of version 17 or newer is not installed"):
        prerequisites.java_kit(silent)


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "21"', 21),
        ("", None),
    ],
)
def test_a_java_version_is_read_from_what_java_prints(output: str, version: int | None) -> None:
    assert java_version(output) == version


@pytest.mark.parametrize(("output", "version"), [("go1.26.8\n", (1, 26)), ("go1.9", (1, 9)), ("devel +abc", (0, 0))])
def test_a_go_version_is_read_from_what_go_prints(output: str, version: tuple[int, int]) -> None:
    assert go_version(output) == version
