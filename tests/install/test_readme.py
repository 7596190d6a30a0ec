"""The README's commands, run as they are written: in a clone, with products and a video of one's own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from demo.dataset import DATA_DIR
from framematch.stack.server import ReservedPort
from tests.install.environments import ROOT, clean_environment, new_environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    """The lines of the first block of commands below a heading, without comments."""
    block = README.partition(f"\n## {heading}\n")[2].partition("```sh\n")[2].partition("```")[0]
    return [re.sub(r"\s+# .*", "", line) for line in block.splitlines() if line]


def own_catalogue(folder: Path) -> str:
    """Write products.csv, photos/, and of the last product photo.jpg and video.mp4; returns its id."""
    rows = (DATA_DIR / "catalog.csv").read_text(encoding="utf-8").splitlines()
    (folder / "products.csv").write_text("\n".join(rows).replace("images/", "") + "\n", encoding="utf-8")
    shutil.copytree(DATA_DIR / "images", folder / "photos")
    product = rows[-1].split(",")[0]
    shutil.copy(DATA_DIR / "images" / f"{product}.jpg", folder / "photo.jpg")
    write_video(folder / "video.mp4", folder / "photo.jpg")
    return product


def write_video(path: Path, photo: Path, *, frames: int = 60) -> None:
    """A video that shows one photo."""
    read = cv2.imread(str(photo))
    assert read is not None
    height, width = (side // 2 * 2 for side in read.shape[:2])
    picture = np.ascontiguousarray(read[:height, :width], np.uint8)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A new user's environment, in which `python3` is the Python that runs the tests."""
    python = tmp_path / "bin"
    python.mkdir()
    (python / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    found = clean_environment(tmp_path)
    found["PATH"] = f"{python}{os.pathsep}{found['PATH']}"
    if cache := os.environ.get("FRAMEMATCH_CACHE_DIR"):
        found["FRAMEMATCH_CACHE_DIR"] = cache
    yield found
    framematch = tmp_path / "framematch" / ".venv" / "bin" / "framematch"
    if framematch.exists():
        subprocess.run([framematch, "stack", "down"], env=found, check=True, stdout=subprocess.DEVNULL)


def test_there_are_at_most_eight_commands_from_the_clone_to_the_first_match() -> None:
    lines = commands("From clone to your own matches")
    assert lines[0].startswith("git clone ")
    assert lines[-1].startswith("framematch watch")
    assert len(lines) <= 8


def test_the_commands_lead_from_a_clone_to_a_match_of_ones_own_and_over_rest(
    environment: dict[str, str], tmp_path: Path
) -> None:
    clone, *rest = commands("From clone to your own matches")
    clone = clone.replace("ADDRESS", str(ROOT))
    subprocess.run(["sh", "-euc", clone], cwd=tmp_path, env=environment, check=True)
    folder = tmp_path / "framematch"
    product = own_catalogue(folder)
    printed: list[str] = []
    with started(rest, folder, environment) as script:
        assert script.stdout
        for line in script.stdout:
            printed.append(line)
            if "till-1" in line and "match" in line:
                break
        else:
            pytest.fail("".join(printed))
    name = next(row for row in (DATA_DIR / "catalog.csv").read_text("utf-8").splitlines() if row.startswith(product))
    assert name.split(",")[1] in printed[-1]
    matched, found = answers_over_rest(folder, environment)
    assert matched["results"][0]["regions"][0]["candidates"][0]["product_id"] == product
    assert len(found["hits"]) <= 3


def answers_over_rest(folder: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """What the commands print that use the API, at a port of its own."""
    port = ReservedPort()
    lines = [line.replace("127.0.0.1:8080", port.address) for line in commands("Over REST")]
    environment = {**environment, "FRAMEMATCH_API__PORT": str(port.number)}
    # Each answer on a line of its own.
    lines = [f"{line}; echo" if line.startswith("curl ") else line for line in lines]
    stop = "trap 'kill $(jobs -p)' EXIT"
    with started([". .venv/bin/activate", stop, *lines], folder, environment) as script:
        assert script.stdout
        answers = [line for line in script.stdout if line.startswith("{")]
    assert len(answers) == 2, (folder / "api.log").read_text()
    return [json.loads(answer) for answer in answers]


@contextmanager
def started(lines: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A script of these lines; at the end it is stopped with everything that it has started."""
    with subprocess.Popen(
        ["bash", "-euc", "\n".join(lines)], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
    ) as script:  # fmt: skip
        try:
            yield script
        finally:
            with suppress(ProcessLookupError):
                os.killpg(script.pid, signal.SIGTERM)


def test_a_wheel_is_built_and_installed_with_an_extra(environment: dict[str, str], tmp_path: Path) -> None:
    build, install = commands("Install elsewhere")
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    path = f"{new_environment(tmp_path / 'env')}{os.pathsep}{environment['PATH']}"
    with_pip = {**environment, "PATH": path, "PIP_COMPILE": "0"}  # most modules are never imported
    for command in (build, install):
        subprocess.run(["sh", "-euc", command], cwd=source, env=with_pip, check=True)
    edge = ["framematch", "edge", "--camera", "till-1=none.mp4", "--dry-run", "--seconds", "1"]
    done = subprocess.run(edge, cwd=tmp_path, env=with_pip, capture_output=True, text=True, check=False)
    assert "Python package" not in done.stderr
    # What a hint says when the packages of another extra are missing.
    hint = "pip install 'framematch[tracing]'"
    subprocess.run(["sh", "-euc", hint], cwd=tmp_path, env=with_pip, check=True)
    subprocess.run(["python", "-c", "import opentelemetry.sdk.trace"], cwd=tmp_path, env=with_pip, check=True)
