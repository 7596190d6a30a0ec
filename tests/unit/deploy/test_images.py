"""deploy/images.env, and the script that pins its images to digests; Triton's start script."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from framematch.core.triton_key import restriction_arguments

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = (ROOT / "compose.edge.yml").read_text(encoding="utf-8")
IMAGES = DEPLOY / "images.env"
LINE = re.compile(r"(?P<name>[A-Z_]+_IMAGE)=(?P<image>[\w./-]+:[\w.-]+)(?P<digest>@sha256:[0-9a-f]{64})?")
DIGEST = "sha256:" + "0123456789abcdef" * 4


def images(file: Path = IMAGES) -> dict[str, re.Match[str]]:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    found = [LINE.fullmatch(line) for line in lines]
    assert None not in found, lines
    return {match["name"]: match for match in found if match}


def program(folder: Path, name: str, script: str) -> dict[str, str]:
    """The environment with a program of this name before all others."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def pin(file: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEPLOY / "pin-images", file], env=environment, capture_output=True, text=True, check=False)


def test_every_image_of_others_is_a_variable_of_the_file_with_the_same_default() -> None:
    defaults = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", COMPOSE))
    assert {name: match["image"] for name, match in images().items()} == defaults
    used = [service["image"] for service in yaml.safe_load(COMPOSE)["services"].values()]
    assert [image for image in used if not image.startswith(("framematch/", "${"))] == []


def test_every_base_image_of_a_dockerfile_can_be_given() -> None:
    arguments = {"PYTHON": "PYTHON_IMAGE", "TRITON_BASE": "TRITON_BASE_IMAGE"}
    for file in (DEPLOY / "docker").glob("*.Dockerfile"):
        text = file.read_text(encoding="utf-8")
        [(argument, default)] = re.findall(r"^ARG (PYTHON|TRITON_BASE)=(\S+)$", text, re.MULTILINE)
        assert default == images()[arguments[argument]]["image"]
        outside = set(re.findall(r"^FROM (\$\{\w+\})", text, re.MULTILINE))
        assert outside == {f"${{{argument}}}"}


def test_pinning_adds_each_digest_and_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "images.env"
    file.write_text(IMAGES.read_text(encoding="utf-8"))
    environment = program(tmp_path / "bin", "docker", f'echo "$@" >> {tmp_path}/calls; echo {DIGEST}')
    for _ in range(2):  # the second time from the first one's result
        done = pin(file, environment)
        assert done.returncode == 0, done.stderr
        assert {name: match["image"] for name, match in images(file).items()} == {
            name: match["image"] for name, match in images().items()
        }
        assert {match["digest"] for match in images(file).values()} == {f"@{DIGEST}"}
    assert file.read_text().count("#") == IMAGES.read_text(encoding="utf-8").count("#")
    assert "@" not in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("script", ["exit 1", "echo not-a-digest", "echo"])
def test_an_image_without_a_digest_leaves_the_file_as_it_was(script: str, tmp_path: Path) -> None:
    file = tmp_path / "images.env"
    file.write_text(IMAGES.read_text(encoding="utf-8"))
    done = pin(file, program(tmp_path / "bin", "docker", script))
    assert done.returncode != 0
    assert file.read_text() == IMAGES.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("images.env.")] == []


def start_triton(folder: Path, key: str | None) -> subprocess.CompletedProcess[str]:
    environment = program(folder / "bin", "tritonserver", 'printf "%s\\n" "$@"; env')
    environment.pop("TRITON_REPOSITORY_KEY", None)
    environment |= {} if key is None else {"TRITON_REPOSITORY_KEY": key}
    return subprocess.run(
        ["sh", DEPLOY / "docker" / "triton-start.sh", "--log-verbose=1"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_triton_is_started_with_the_restrictions_of_the_local_stack(tmp_path: Path) -> None:
    key = "a key with a $ and a : in it"
    done = start_triton(tmp_path, key)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert set(restriction_arguments(key)) <= set(lines)
    assert {"--model-control-mode=explicit", "--load-model=*", "--exit-on-error=false", "--log-verbose=1"} <= set(lines)
    assert not [line for line in lines if line.startswith("TRITON_REPOSITORY_KEY")]


@pytest.mark.parametrize("key", [None, ""])
def test_triton_does_not_start_without_a_key(key: str | None, tmp_path: Path) -> None:
    done = start_triton(tmp_path, key)
    assert done.returncode != 0
    assert "TRITON_REPOSITORY_KEY" in done.stderr
    assert done.stdout == ""
