"""`framematch model check` with the real Triton: passing and failing checks, and other models."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from framematch.cli.model import app
from framematch.core.errors import CatalogError, ModelError, ModelMismatchError, TritonUnavailableError, UsageError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.triton import TritonServer
from tests.support import SHARED
from tests.unit.model_build.bundles import SIDE, BundleFiles, image_only, image_tower, tokenizer, weights

CLIP_TINY = SHARED / "conformance" / "clip-tiny"

pytestmark = pytest.mark.integration
with_clip_tiny = pytest.mark.skipif(not CLIP_TINY.is_dir(), reason=f"the conformance bundle is not at {CLIP_TINY}")

StartTriton = Callable[[Path], TritonServer]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle."""
    return BundleFiles().write(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture(scope="module")
def small_url(small: Path, start_triton: StartTriton, tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve(small, start_triton, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def clip_tiny_url(start_triton: StartTriton, tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve(CLIP_TINY, start_triton, tmp_path_factory.mktemp("clip-tiny"))


def serve(bundle: Path, start_triton: StartTriton, repository: Path) -> str:
    build_model_repository(load_bundle(bundle), repository)
    return start_triton(repository).url


def run(url: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)], env={"TRITON_URL": url, "COLUMNS": "140"})


def checks(result: Result) -> dict[tuple[str, str], dict[str, float]]:
    """The rows of `--json`, by their `what` and `against`."""
    rows = msgspec.json.decode(result.stdout)["checks"]
    return {(row["what"], row["against"]): row for row in rows}


def checks_model(result: Result) -> dict[str, str]:
    """The model of `--json`."""
    model: dict[str, str] = msgspec.json.decode(result.stdout)["model"]
    return model


@with_clip_tiny
def test_the_conformance_bundle_has_the_reference_s_embeddings(clip_tiny_url: str) -> None:
    result = run(clip_tiny_url, "--expected", CLIP_TINY / "expected.json", "--from", CLIP_TINY, "--json")
    assert result.exit_code == 0, result.output
    rows = checks(result)
    assert {against for _what, against in rows} == {"expected.json", "ONNX of clip-tiny"}
    for against in ("expected.json", "ONNX of clip-tiny"):
        assert rows["exact pictures", against]["lowest"] >= 0.9999
        assert rows["fast pictures", against]["lowest"] >= 0.99
        assert rows["texts", against]["lowest"] >= 0.9999
    assert rows["token ids", "expected.json"]["number"] == 8


@with_clip_tiny
def test_texts_are_compared_with_the_tokenizer_that_triton_serves(clip_tiny_url: str) -> None:
    result = run(clip_tiny_url, "--expected", CLIP_TINY / "expected.json")
    assert result.exit_code == 0, result.output
    assert "All checks passed" in result.output
    assert "token ids" in result.output


@with_clip_tiny
def test_a_bundle_can_be_checked_with_the_built_in_pictures_and_texts(clip_tiny_url: str) -> None:
    result = run(clip_tiny_url, "--from", CLIP_TINY)
    assert result.exit_code == 0, result.output
    assert "All checks passed" in result.output


@with_clip_tiny
def test_one_wrong_number_in_the_reference_fails_the_check_and_names_the_picture(
    clip_tiny_url: str, tmp_path: Path
) -> None:
    content = msgspec.json.decode((CLIP_TINY / "expected.json").read_bytes())
    content["images"]["grocery_Kiwi_015.jpg"]["embedding"].reverse()
    wrong = tmp_path / "expected.json"
    wrong.write_bytes(msgspec.json.encode(content))
    result = run(clip_tiny_url, "--expected", wrong, "--images", CLIP_TINY / "images", "--from", CLIP_TINY)
    assert result.exit_code == 1
    assert "grocery_Kiwi_015.jpg is below the limit" in result.output
    assert "2 of 7 checks failed" in result.output


@with_clip_tiny
def test_reference_embeddings_of_another_model_are_refused_and_both_are_named(small_url: str) -> None:
    error = run(small_url, "--expected", CLIP_TINY / "expected.json").exception
    assert isinstance(error, ModelMismatchError)
    assert "expected.json" in error.message
    assert "small" in error.message


def test_a_bundle_is_compared_with_the_built_in_pictures_and_texts(small: Path, small_url: str) -> None:
    rows = checks(run(small_url, "--from", small, "--json"))
    assert rows["exact pictures", "ONNX of small"]["number"] >= 10
    assert rows["exact pictures", "ONNX of small"]["lowest"] >= 0.9999
    assert rows["texts", "ONNX of small"]["lowest"] >= 0.9999


def test_one_of_several_served_models_is_chosen_by_its_digest(small: Path, small_url: str) -> None:
    digest = checks_model(run(small_url, "--from", small, "--json"))["digest"]
    assert checks_model(run(small_url, "--from", small, "--digest", digest[:12], "--json"))["digest"] == digest
    missing = run(small_url, "--from", small, "--digest", "cafecafecafe").exception
    assert isinstance(missing, ModelError)
    assert "no model clip_image_cafecafecafe" in missing.message
    assert isinstance(run(small_url, "--from", small, "--digest", "../x").exception, UsageError)


def test_a_bundle_of_another_model_is_refused_and_both_are_named(small_url: str, tmp_path: Path) -> None:
    other = BundleFiles(image=image_tower(weights(3 * SIDE * SIDE, seed=9))).write(tmp_path / "other")
    error = run(small_url, "--from", other).exception
    assert isinstance(error, ModelMismatchError)
    assert "serves small" in error.message
    assert "other" in error.message
    assert "graphs" in error.message


def test_a_bundle_with_another_tokenizer_is_refused(small_url: str, tmp_path: Path) -> None:
    bundle = BundleFiles().write(tmp_path / "small")
    other = tokenizer()
    other.add_tokens(["one-more"])
    other.save(str(bundle / "tokenizer.json"))
    error = run(small_url, "--from", bundle).exception
    assert isinstance(error, ModelMismatchError)
    assert "tokenizer" in error.message


def test_a_bundle_without_a_text_tower_is_compared_by_pictures_only(
    start_triton: StartTriton, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    bundle = image_only().write(tmp_path / "pictures-only")
    url = serve(bundle, start_triton, tmp_path_factory.mktemp("pictures-only"))
    result = run(url, "--from", bundle, "--json")
    assert {what for what, _against in checks(result)} == {"exact pictures", "fast pictures"}


def test_the_error_for_a_missing_model_says_how_to_build_it(
    small: Path, start_triton: StartTriton, tmp_path: Path
) -> None:
    error = run(start_triton(tmp_path).url, "--from", small).exception
    assert isinstance(error, ModelError)
    assert "framematch model build" in error.hint


def test_a_damaged_picture_is_named(small: Path, small_url: str, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more than this")
    error = run(small_url, "--from", small, "--images", tmp_path).exception
    assert isinstance(error, CatalogError)
    assert "broken.jpg" in error.message


def test_no_triton_is_an_unavailable_error(small: Path, dead_address: str) -> None:
    result = CliRunner().invoke(
        app,
        ["check", "--from", str(small)],
        env={"TRITON_URL": dead_address, "FRAMEMATCH_TRITON__TIMEOUT_S": "0.5"},
    )
    assert isinstance(result.exception, TritonUnavailableError)
    assert result.exception.hint
