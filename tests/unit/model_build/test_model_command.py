"""`framematch model build`, without a Triton and without a hub."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from framematch.cli.model import app
from framematch.core.errors import ModelError, UsageError
from framematch.model_build.int8.report import QuantizationReport
from framematch.model_build.repository.build_options import CpuPlan
from framematch.model_build.repository.tune import MeasuredPlan
from tests.repositories import tower_folder
from tests.unit.model_build.bundles import SIDE, BundleFiles


def test_a_build_prints_the_model_its_folder_and_how_to_serve_it(tmp_path: Path) -> None:
    bundle = BundleFiles().write(tmp_path / "small-clip")
    result = CliRunner().invoke(app, ["build", "--from", str(bundle), "--out", str(tmp_path / "repository")])
    assert result.exit_code == 0, result.output
    assert "Built small-clip: pictures and texts to 4 dimensions, fp32, cpu" in result.output
    assert str(tmp_path / "repository") in result.output
    assert "Serve it with `framematch stack up`, or `tritonserver" in result.output
    assert (tower_folder(tmp_path / "repository") / "1" / "model.onnx").is_file()


def test_a_build_of_a_wheel_does_not_name_a_command_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framematch.cli.errors.find_spec", lambda _name: None)
    bundle = BundleFiles().write(tmp_path / "small-clip")
    result = CliRunner().invoke(app, ["build", "--from", str(bundle), "--out", str(tmp_path / "repository")])
    assert "Serve it with `tritonserver" in result.output


def test_a_folder_without_a_bundle_is_a_model_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["build", "--from", str(tmp_path)])
    assert isinstance(result.exception, ModelError)
    assert "config.json" in result.exception.message


@pytest.mark.parametrize("arguments", [["--max-batch-size", "0"], ["--target", "abacus"], ["--precision", "int2"]])
def test_values_that_are_not_offered_exit_with_two(tmp_path: Path, arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["build", "--from", str(tmp_path), *arguments]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ([], "one source", "--hub NAME"),
        (["--from", "here", "--hub", "me/clip"], "one source", "--from DIR"),
        (["--from", "here", "--revision", "main"], "--revision", "--hub"),
        (["--from", "here", "--precision", "fp16"], "cpu does not run fp16", "fp32 or int8"),
        (["--from", "here", "--target", "onnx", "--precision", "int8"], "onnx does not run int8", "another target"),
        (["--from", "here", "--precision", "int8"], "calibrate", "--calibration DIR"),
        (["--from", "here", "--calibration", "."], "--calibration is for int8", "--precision int8"),
        (["--from", "here", "--precision", "int8", "--calibration", "none"], "none is not a folder", "pictures"),
        (["--from", "here", "--force"], "--force is for int8", "--precision int8"),
        (["--from", "here", "--target", "tensorrt", "--tune"], "--tune is for the target cpu", "GPU"),
        (["--hub", "../up"], "cannot be the name", "owner/name"),
    ],
)
def test_contradicting_options_are_wrong_usage_with_a_hint(arguments: list[str], message: str, hint: str) -> None:
    error = CliRunner().invoke(app, ["build", *arguments]).exception
    assert isinstance(error, UsageError), error
    assert message in error.message
    assert hint in error.hint


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of pictures, one for each product. Quantisation is replaced: the tower has only one layer."""
    monkeypatch.setattr("framematch.model_build.int8.quantize.quantize_image_tower", lambda graph, *_, **__: graph)
    random = np.random.default_rng(4)
    for number in range(12):
        folder = tmp_path / "pictures" / ("milk" if number % 2 else "kiwi")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def build_int8(tmp_path: Path, pictures: Path, *more: str) -> Result:
    bundle = BundleFiles().write(tmp_path / "small-clip")
    given = ["--from", str(bundle), "--precision", "int8", "--calibration", str(pictures)]
    return CliRunner().invoke(app, ["build", *given, "--out", str(tmp_path / "repository"), *more])


def test_int8_is_built_with_a_report(tmp_path: Path, pictures: Path) -> None:
    result = build_int8(tmp_path, pictures)
    assert result.exit_code == 0, result.output
    assert "6 pictures for calibration, 6 for evaluation" in result.output
    assert all(row in result.output for row in ("mean cosine", "lowest cosine", "right product first"))
    assert "dimensions, int8, cpu" in result.output


def test_int8_that_changes_embeddings_too_much_is_refused_unless_forced(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = QuantizationReport(pictures=6, mean_cosine=0.7, lowest_cosine=0.2, same_neighbour=1.0, retrieval=None)
    monkeypatch.setattr("framematch.model_build.int8.report.compare_towers", lambda *_: bad)
    refused = build_int8(tmp_path / "refused", pictures)
    assert isinstance(refused.exception, ModelError)
    assert "--force" in refused.exception.hint
    assert not (tmp_path / "refused" / "repository").exists()
    forced = build_int8(tmp_path / "forced", pictures, "--force")
    assert forced.exit_code == 0
    assert "built in spite of mean cosine to fp32 0.7000" in forced.output


def test_tuning_prints_the_plans_and_uses_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [MeasuredPlan(CpuPlan(instances=3, threads=1), 40.0), MeasuredPlan(CpuPlan(instances=1, threads=3), 30.0)]
    monkeypatch.setattr("framematch.model_build.repository.tune.measure_cpu_plans", lambda *_, **__: plans)
    bundle = BundleFiles().write(tmp_path / "small-clip")
    result = CliRunner().invoke(app, ["build", "--from", str(bundle), "--out", str(tmp_path / "repository"), "--tune"])
    assert result.exit_code == 0, result.output
    assert result.output.index("40.0") < result.output.index("30.0")
    assert "count: 3" in (tower_folder(tmp_path / "repository") / "config.pbtxt").read_text()


def test_a_tensorrt_build_ends_with_the_command_that_builds_the_engines(tmp_path: Path) -> None:
    bundle = BundleFiles().write(tmp_path / "small-clip")
    arguments = ["--from", str(bundle), "--out", str(tmp_path / "repository"), "--target", "tensorrt"]
    result = CliRunner().invoke(app, ["build", *arguments])
    assert result.exit_code == 0, result.output
    assert "fp16, tensorrt" in result.output
    assert "sh /models/build-engines.sh" in result.output
