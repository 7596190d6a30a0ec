"""The script that builds TensorRT engines, run with a fake trtexec. TensorRT itself is not run."""

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.model_build.repository.targets import next_step
from framematch.model_build.repository.targets.tensorrt import CONTAINER
from tests.repositories import manifest_of_folder, tower_folder, tower_folders
from tests.unit.model_build.bundles import BundleFiles, image_only, image_tower, weights

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = BuildOptions("tensorrt", max_batch_size=16)
# Prints its version like trtexec, records its arguments, and writes the content of $ENGINE.
TRTEXEC = """#!/bin/sh
if [ "$1" = --help ]; then
    echo "&&&& RUNNING TensorRT.trtexec [TensorRT v$TENSORRT] [b1] # trtexec --help"
    exit 0
fi
printf '%s\\n' "$@" >>"$CALLS"
for argument; do
    case $argument in
    --saveEngine=*) printf %s "$ENGINE" >"${argument#*=}" ;;
    esac
done
echo "[E] a layer that cannot be" >&2
exit "$RETURNS"
"""
NVIDIA_SMI = '#!/bin/sh\n[ -n "$GPU" ] || exit 9\necho "$GPU"\n'


@dataclass
class Machine:
    """A model repository, and a machine with fake programs."""

    repository: Path
    programs: Path
    tensorrt: str = "101600"
    gpu: str = "NVIDIA L4, 8.9, 580.1"
    engine: str = "an engine"
    returns: int = 0

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script from another folder."""
        environment = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "CALLS": str(self.programs / "calls"),
            "TENSORRT": self.tensorrt,
            "GPU": self.gpu,
            "ENGINE": self.engine,
            "RETURNS": str(self.returns),
        }
        script = self.repository / "build-engines.sh"
        return subprocess.run(
            [script, *arguments], cwd="/", env=environment, capture_output=True, text=True, check=False
        )

    def calls(self) -> list[list[str]]:
        """The arguments of each call of trtexec."""
        noted = self.programs / "calls"
        text = noted.read_text() if noted.exists() else ""
        return [["--onnx=" + call.splitlines()[0], *call.splitlines()[1:]] for call in text.split("--onnx=")[1:]]

    @property
    def model(self) -> Path:
        """The folder of the image tower."""
        return tower_folder(self.repository)

    def plan(self) -> Path:
        return self.model / "1" / "model.plan"


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    programs = tmp_path / "programs"
    programs.mkdir()
    program(programs / "trtexec", TRTEXEC)
    program(programs / "nvidia-smi", NVIDIA_SMI)
    repository = tmp_path / "a repository"
    build_model_repository(load_bundle(BundleFiles().write(tmp_path / "small")), repository, OPTIONS)
    return Machine(repository, programs)


def files(folder: Path) -> set[str]:
    return {path.name for path in (tower_folder(folder) / "1").iterdir()}


def test_trtexec_is_called_once_per_model_with_its_inputs_and_tuned_for_the_largest_batch(
    machine: Machine,
) -> None:
    result = machine.run()
    assert result.returncode == 0, result.stderr
    image, text = machine.calls()
    assert [argument for argument in image if "Shapes" in argument] == [
        "--minShapes=pixels:1x8x8x3",
        "--optShapes=pixels:16x8x8x3",
        "--maxShapes=pixels:16x8x8x3",
    ]
    assert f"--onnx={machine.model.name}/1/model.onnx" in image
    assert "--maxShapes=input_ids:16x6,attention_mask:16x6" in text
    assert {"--stronglyTyped", "--skipInference"} <= set(text)
    # TensorRT 11 does not have these flags; the graph is in half precision.
    assert not {"--fp16", "--int8", "--best"} & {*image, *text}


def test_print_shows_the_commands_and_needs_neither_trtexec_nor_a_gpu(machine: Machine) -> None:
    (machine.programs / "trtexec").unlink()
    machine.gpu = ""
    result = machine.run("--print")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    name = machine.model.name
    assert lines[0].startswith(f"trtexec --onnx={name}/1/model.onnx --saveEngine={name}/1/model.plan ")
    assert "--optShapes=input_ids:16x6,attention_mask:16x6" in lines[1]


def test_the_engine_is_complete_with_a_log_and_no_other_files(machine: Machine) -> None:
    machine.run()
    assert machine.plan().read_text() == "an engine"
    assert files(machine.repository) == {"model.onnx", "model.plan", "model.plan.made-of"}
    assert "a layer that cannot be" in (machine.model / "trtexec.log").read_text()


def test_a_second_run_does_not_build_the_engines_again(machine: Machine) -> None:
    machine.run()
    result = machine.run()
    assert "exists already" in result.stdout
    assert len(machine.calls()) == 2


@pytest.mark.parametrize(("name", "value"), [("tensorrt", "110100"), ("gpu", "NVIDIA T4, 7.5, 580.1")])
def test_another_tensorrt_or_gpu_gets_new_engines(machine: Machine, name: str, value: str) -> None:
    machine.run()
    setattr(machine, name, value)
    machine.engine = "another"
    machine.run()
    assert machine.plan().read_text() == "another"


@pytest.mark.parametrize(("returns", "engine"), [(1, "half an eng"), (0, "")])
def test_a_failed_build_names_the_log_and_leaves_no_plan(machine: Machine, returns: int, engine: str) -> None:
    machine.returns, machine.engine = returns, engine
    result = machine.run()
    assert result.returncode == 1
    assert f"could not build the engine of {machine.model.name}" in result.stderr
    assert str(machine.model / "trtexec.log") in result.stderr
    assert "a layer that cannot be" in result.stderr
    assert files(machine.repository) == {"model.onnx"}


def test_a_failed_build_leaves_the_old_engine(machine: Machine) -> None:
    machine.run()
    machine.tensorrt, machine.returns, machine.engine = "110100", 1, "half an eng"
    assert machine.run().returncode == 1
    assert machine.plan().read_text() == "an engine"


def test_without_trtexec_the_error_says_where_to_run_the_script(machine: Machine) -> None:
    (machine.programs / "trtexec").unlink()
    result = machine.run()
    assert result.returncode == 1
    assert "no trtexec" in result.stderr
    assert "container" in result.stderr


def test_trtexec_can_be_anywhere(machine: Machine) -> None:
    elsewhere = machine.programs / "my trtexec"
    (machine.programs / "trtexec").rename(elsewhere)
    script = machine.repository / "build-engines.sh"
    text = script.read_text()
    script.write_text(text.replace("set -eu", f"set -eu\nTRTEXEC='{elsewhere}'", 1))
    assert machine.run().returncode == 0


def test_without_a_gpu_trtexec_is_not_called(machine: Machine) -> None:
    machine.gpu = ""
    result = machine.run()
    assert result.returncode == 1
    assert "no GPU" in result.stderr
    assert machine.calls() == []


def test_a_tensorrt_without_64_bit_integers_is_refused(machine: Machine) -> None:
    machine.tensorrt = "8603"
    result = machine.run()
    assert result.returncode == 1
    assert "TensorRT 10 or newer" in result.stderr


def test_another_argument_is_wrong_usage(machine: Machine) -> None:
    result = machine.run("--fp16")
    assert result.returncode == 2
    assert "usage" in result.stderr


def test_a_build_of_the_model_for_another_target_removes_engines_and_script(machine: Machine, tmp_path: Path) -> None:
    machine.run()
    build_model_repository(load_bundle(tmp_path / "small"), machine.repository)
    assert sorted(path.name for path in machine.repository.iterdir()) == tower_folders(machine.repository)
    assert files(machine.repository) == {"model.onnx", "model.py"}


def test_another_model_leaves_the_engines_and_the_script_builds_those_of_both(machine: Machine, tmp_path: Path) -> None:
    machine.run()
    first = machine.plan()
    other = BundleFiles(image=image_tower(weights(3 * 8 * 8, seed=9))).write(tmp_path / "other")
    build_model_repository(load_bundle(other), machine.repository, OPTIONS)
    build_model_repository(load_bundle(image_only().write(tmp_path / "on the cpu")), machine.repository)
    machine.engine = "another"
    result = machine.run()
    assert result.returncode == 0, result.stderr
    assert (result.stdout.count("exists already"), result.stdout.count("is ready")) == (2, 2)
    assert first.read_text() == "an engine"
    assert len(list(machine.repository.glob("*/1/model.plan"))) == 4


def test_a_build_of_the_same_model_keeps_its_engine(machine: Machine, tmp_path: Path) -> None:
    machine.run()
    build_model_repository(load_bundle(tmp_path / "small"), machine.repository, OPTIONS)
    assert machine.plan().read_text() == "an engine"
    assert "exists already" in machine.run().stdout


def test_a_build_of_the_same_model_for_other_batches_removes_its_engine(machine: Machine, tmp_path: Path) -> None:
    machine.run()
    build_model_repository(load_bundle(tmp_path / "small"), machine.repository, BuildOptions("tensorrt"))
    assert files(machine.repository) == {"model.onnx"}


def test_without_models_that_need_an_engine_the_script_says_so(machine: Machine) -> None:
    for shapes in machine.repository.glob("*/engine.shapes"):
        shapes.unlink()
    result = machine.run()
    assert result.returncode == 1
    assert "no model here needs an engine" in result.stderr


def test_the_next_step_names_the_folder_and_the_container_of_the_dockerfile(machine: Machine) -> None:
    manifest = manifest_of_folder(machine.model)
    step = next_step(manifest, machine.repository)
    assert step is not None
    assert f"'{machine.repository}:/models'" in step
    assert CONTAINER in step
    assert f"ARG TRITON_BASE={CONTAINER}\n" in (ROOT / "deploy" / "docker" / "triton.Dockerfile").read_text()
    machine.run()
    assert next_step(manifest, machine.repository) is None
    assert next_step(replace(manifest, target="cpu"), machine.repository) is None


def test_the_script_names_the_container_of_the_dockerfile_too(machine: Machine) -> None:
    script = machine.repository / "build-engines.sh"
    assert CONTAINER in script.read_text()
    assert os.access(script, os.X_OK)
