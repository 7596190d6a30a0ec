"""`framematch model check` without a Triton: its table, and errors before Triton is asked."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from framematch.cli.console import new_console
from framematch.cli.model import app
from framematch.cli.models.check import table
from framematch.core.errors import CatalogError, ModelError, SettingsError, UsageError
from framematch.model_build.checks.conformance import Check, Limit, skipped
from tests.unit.model_build.bundles import DIMENSION, BundleFiles

PASSED = Check("exact pictures", "expected.json", 7, 0.99999, 1.0, Limit(0.9999, 0.9999), "a.jpg")
FAILED = Check("fast pictures", "expected.json", 7, 0.5, 0.9, Limit(0.95, 0.98), "b.jpg", "b.jpg is below the limit")


def run(*arguments: str | Path) -> Result:
    """The address is unreachable: errors must be found before Triton is asked."""
    return CliRunner().invoke(app, ["check", *map(str, arguments)], env={"TRITON_URL": "127.0.0.1:1"})


def reference(folder: Path, **parts: object) -> Path:
    file = folder / "expected.json"
    file.write_bytes(msgspec.json.encode(parts))
    return file


def shown(*checks: Check) -> list[str]:
    console = new_console()
    with console.capture() as capture:
        console.print(table(list(checks)))
    return capture.get().splitlines()[1:]


def test_a_row_has_the_cosines_the_limit_and_a_verdict() -> None:
    passed, failed = shown(PASSED, FAILED)
    assert passed.split() == ["ok", "exact", "pictures", "expected.json", "7", "0.999990", "1.000000", "0.9999"]
    assert failed.startswith("no")
    assert "0.95, mean 0.98" in failed
    assert "b.jpg is below the limit" in failed


def test_a_skipped_row_has_the_reason() -> None:
    (row,) = shown(skipped("texts", "expected.json", "no tokenizer [here]"))
    assert row.startswith("- ")
    assert "not checked: no tokenizer [here]" in row


def test_without_a_reference_the_usage_is_wrong() -> None:
    error = run().exception
    assert isinstance(error, UsageError)
    assert "--from" in error.hint
    assert "--expected" in error.hint


def test_without_an_address_the_setting_is_named(tmp_path: Path) -> None:
    error = CliRunner().invoke(app, ["check", "--from", str(tmp_path)]).exception
    assert isinstance(error, SettingsError)
    assert "TRITON_URL" in error.hint


def test_a_broken_reference_file_is_named(tmp_path: Path) -> None:
    error = run("--expected", reference(tmp_path)).exception
    assert isinstance(error, ModelError)
    assert "expected.json" in error.message


def test_missing_pictures_of_the_reference_are_counted(tmp_path: Path) -> None:
    row = {"embedding": [1.0] * DIMENSION}
    file = reference(tmp_path, images={"a.jpg": row, "b.jpg": row})
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "images" / "a.jpg")
    error = run("--expected", file).exception
    assert isinstance(error, CatalogError)
    assert "1 of 2 pictures" in error.message
    assert "b.jpg" in error.message
    assert "--images" in error.hint


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_a_folder_without_pictures_is_named(tmp_path: Path, folder: str) -> None:
    bundle = BundleFiles().write(tmp_path / "bundle")
    (tmp_path / "empty").mkdir()
    error = run("--from", bundle, "--images", tmp_path / folder).exception
    assert isinstance(error, CatalogError)
    assert folder in error.message


def test_a_folder_that_is_not_a_bundle_is_a_model_error(tmp_path: Path) -> None:
    assert isinstance(run("--from", tmp_path).exception, ModelError)
