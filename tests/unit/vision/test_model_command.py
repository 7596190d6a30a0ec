"""`framematch model build`, without a Triton."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from framematch.cli.model import app
from framematch.core.errors import ModelError
from tests.unit.vision.bundles import BundleFiles


def test_help_shows_an_example() -> None:
    result = CliRunner().invoke(app, ["build", "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "framematch model build --from" in result.output


def test_a_build_says_what_it_wrote_where_and_how_to_serve_it(tmp_path: Path) -> None:
    bundle = BundleFiles().write(tmp_path / "small-clip")
    result = CliRunner().invoke(app, ["build", "--from", str(bundle), "--out", str(tmp_path / "repository")])
    assert result.exit_code == 0, result.output
    assert "Built small-clip: pictures and texts to 4 dimensions, fp32, cpu" in result.output
    assert str(tmp_path / "repository") in result.output
    assert "framematch stack up" in result.output
    assert (tmp_path / "repository" / "clip_image" / "1" / "model.onnx").is_file()


def test_a_folder_without_a_bundle_is_a_model_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["build", "--from", str(tmp_path)])
    assert isinstance(result.exception, ModelError)
    assert "config.json" in result.exception.message


@pytest.mark.parametrize("arguments", [["--max-batch-size", "0"], ["--target", "abacus"]])
def test_wrong_usage_exits_with_two(tmp_path: Path, arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["build", "--from", str(tmp_path), *arguments]).exit_code == 2
