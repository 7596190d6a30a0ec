"""Reading a model bundle: what it says, and how a broken one is refused."""

from pathlib import Path

import pytest

from framematch.core.errors import ModelError
from framematch.vision.bundle import load_bundle
from tests.unit.vision.bundles import CONFIG, CONTEXT_LENGTH, DIMENSION, END_ID, PAD_ID, SIDE, BundleFiles, image_only

FILES = (
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "onnx/vision_model.onnx",
    "onnx/text_model.onnx",
)


def test_a_complete_bundle_is_read(tmp_path: Path) -> None:
    bundle = load_bundle(BundleFiles().write(tmp_path / "small-clip"))
    assert bundle.name == "small-clip"
    assert bundle.dimension == DIMENSION
    assert bundle.context_length == CONTEXT_LENGTH
    assert bundle.preprocess.resize_shortest_edge == SIDE
    assert bundle.preprocess.resample == "bicubic"
    assert bundle.preprocess.mean == (0.5, 0.4, 0.3)


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named_with_what_is_beside_it(tmp_path: Path, missing: str) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    (folder / missing).rename(folder / missing.replace(".", "_old."))
    with pytest.raises(ModelError, match=r"lacks .*" + missing) as caught:
        load_bundle(folder)
    assert Path(missing).stem + "_old" in caught.value.message
    assert caught.value.hint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model bundle at .*nowhere"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("broken", FILES[:3])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, broken: str) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    (folder / broken).write_text("{ not json")
    with pytest.raises(ModelError, match=broken):
        load_bundle(folder)


def test_a_missing_number_is_named(tmp_path: Path) -> None:
    folder = BundleFiles(config={"model_type": "clip"}).write(tmp_path / "bundle")
    with pytest.raises(ModelError, match="projection_dim"):
        load_bundle(folder)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    folder = BundleFiles(config={**CONFIG, "model_type": "siglip"}).write(tmp_path / "bundle")
    with pytest.raises(ModelError, match="'siglip'"):
        load_bundle(folder)


def test_an_image_only_bundle_needs_no_tokenizer(tmp_path: Path) -> None:
    bundle = load_bundle(image_only().write(tmp_path / "bundle"))
    assert bundle.text is None
    assert bundle.context_length is None


def test_a_clip_bundle_without_text_config_is_refused(tmp_path: Path) -> None:
    folder = BundleFiles(config={**CONFIG, "text_config": None}).write(tmp_path / "bundle")
    with pytest.raises(ModelError, match="no text_config"):
        load_bundle(folder)


def test_the_tokenizer_s_own_special_tokens_win_over_the_ids_of_the_config(tmp_path: Path) -> None:
    text = load_bundle(BundleFiles().write(tmp_path / "bundle")).text
    assert text is not None
    assert (text.pad_token_id, text.eos_token_id) == (PAD_ID, END_ID)


def test_without_tokenizer_config_the_ids_of_the_config_count(tmp_path: Path) -> None:
    text = load_bundle(BundleFiles(tokenizer_config=None).write(tmp_path / "bundle")).text
    assert text is not None
    assert (text.pad_token_id, text.eos_token_id) == (77, 78)


def test_a_special_token_that_the_tokenizer_lacks_is_refused(tmp_path: Path) -> None:
    folder = BundleFiles(tokenizer_config={"pad_token": "<nil>"}).write(tmp_path / "bundle")
    with pytest.raises(ModelError, match="'<nil>' as pad_token"):
        load_bundle(folder)


def test_a_bundle_that_names_no_padding_token_is_refused(tmp_path: Path) -> None:
    config = {**CONFIG, "text_config": {"max_position_embeddings": CONTEXT_LENGTH}}
    folder = BundleFiles(config=config, tokenizer_config=None).write(tmp_path / "bundle")
    with pytest.raises(ModelError, match="which token is its pad_token"):
        load_bundle(folder)
