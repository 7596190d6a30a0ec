"""A build or a removal that is killed at any moment leaves a repository that Triton can serve."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from tests.repositories import manifest_of_folder, tower_folders
from tests.unit.model_build.bundles import SIDE, BundleFiles, image_tower, weights

pytestmark = pytest.mark.integration

KILLS_AFTER_S = (0.0, 0.011, 0.023, 0.037, 0.053, 0.071)


def kill_a_build(*arguments: Path, after_s: float) -> None:
    command = [sys.executable, "-m", "tests.integration.model_build_program", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        time.sleep(after_s)  # the moment is what is tested
        process.kill()


def test_the_old_model_is_complete_after_every_kill_and_the_next_build_cleans_up(tmp_path: Path) -> None:
    one = BundleFiles().write(tmp_path / "one")
    other = BundleFiles(image=image_tower(weights(3 * SIDE * SIDE, seed=9))).write(tmp_path / "other")
    repository = tmp_path / "served" / "repository"
    first = build_model_repository(load_bundle(one), repository)
    names = tower_folders(repository)
    graphs = {name: (repository / name / "1" / "model.onnx").read_bytes() for name in names}
    for after_s in KILLS_AFTER_S:
        kill_a_build(one, other, repository, after_s=after_s)
        for name in tower_folders(repository):
            assert manifest_of_folder(repository / name).digest.startswith(name.rpartition("_")[2])
            assert (repository / name / "1" / "model.py").is_file()
        for name in names:
            assert (repository / name / "1" / "model.onnx").read_bytes() == graphs[name]
            assert manifest_of_folder(repository / name) == first
    build_model_repository(load_bundle(other), repository)
    assert [path.name for path in repository.parent.iterdir()] == ["repository"]
    assert len(tower_folders(repository)) == 4
