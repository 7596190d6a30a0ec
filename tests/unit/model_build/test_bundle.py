"""Reading a model bundle: its content, and the errors for broken ones."""

from pathlib import Path
from typing import Any

import pytest

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.bundles.layouts import CLIP, OPENCLIP, SIGLIP
from framematch.model_build.bundles.prompts import PHOTO_TEMPLATES
from tests.unit.model_build.bundles import (
    CONFIG,
    CONTEXT_LENGTH,
    DIMENSION,
    END_ID,
    OPEN_CLIP_CONFIG,
    PAD_ID,
    SIDE,
    BundleFiles,
    image_only,
    open_clip,
    siglip,
)

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

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


@pytest.mark.parametrize("missing", FILES[1:])
def test_a_missing_file_is_named_with_the_files_found(tmp_path: Path, missing: str) -> None:
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


@pytest.mark.parametrize("config", [None, {**CONFIG, "model_type": "blip"}])
def test_another_kind_of_model_is_refused_with_what_was_found_and_what_is_supported(
    tmp_path: Path, config: dict[str, Any] | None
) -> None:
    folder = BundleFiles(config=config, graphs=("model.onnx", "onnx/text_model.onnx")).write(tmp_path / "bundle")
    with pytest.raises(ModelError, match="not a model bundle that can be used") as caught:
        load_bundle(folder)
    assert ("model_type 'blip'" if config else "no config.json") in caught.value.message
    assert "model.onnx (pixel_values float [B, 3, 8, 8] -> image_embeds float [B, 4])" in caught.value.message
    assert all(family in caught.value.hint for family in ("CLIP", "SigLIP", "OpenCLIP"))
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_reported_as_empty(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found: no file of a model"):
        load_bundle(tmp_path)


def test_graphs_may_be_in_the_folder_itself(tmp_path: Path) -> None:
    folder = BundleFiles(graphs=("vision_model.onnx", "text_model.onnx")).write(tmp_path / "bundle")
    bundle = load_bundle(folder)
    assert bundle.layout is CLIP
    assert bundle.image_graph == folder / "vision_model.onnx"
    assert bundle.text is not None
    assert bundle.text.graph == folder / "text_model.onnx"


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    (folder / "tokenizer.json").write_text(LFS_POINTER)
    with pytest.raises(ModelError, match=r"tokenizer\.json is a git-LFS pointer") as caught:
        load_bundle(folder)
    assert "git lfs pull" in caught.value.hint


def test_a_picture_size_that_differs_from_the_config_is_refused(tmp_path: Path) -> None:
    config = {**CONFIG, "vision_config": {"image_size": SIDE + 1}}
    with pytest.raises(ModelError, match=r"has pictures of 9 x 9, the preprocessing makes 8 x 8"):
        load_bundle(BundleFiles(config=config).write(tmp_path / "bundle"))


@pytest.mark.parametrize("length", [0, -1])
def test_an_invalid_context_length_is_refused(tmp_path: Path, length: int) -> None:
    config = {**CONFIG, "text_config": {"max_position_embeddings": length}}
    with pytest.raises(ModelError, match="max_position_embeddings"):
        load_bundle(BundleFiles(config=config).write(tmp_path / "bundle"))


def test_siglip_s_dimension_is_its_hidden_size_and_pictures_are_resized_without_a_crop(tmp_path: Path) -> None:
    bundle = load_bundle(siglip().write(tmp_path / "bundle"))
    assert bundle.layout is SIGLIP
    assert bundle.dimension == DIMENSION
    assert bundle.context_length == CONTEXT_LENGTH
    assert bundle.preprocess.resize_shortest_edge is None
    assert (bundle.preprocess.crop_height, bundle.preprocess.crop_width) == (SIDE, SIDE)


def test_missing_numbers_of_siglip_have_the_transformers_library_s_defaults(tmp_path: Path) -> None:
    files = siglip()
    files.config = {"model_type": "siglip", "text_config": {"vocab_size": 32000}, "vision_config": {"patch_size": 16}}
    bundle = load_bundle(files.write(tmp_path / "bundle"))
    assert (bundle.dimension, bundle.context_length) == (768, 64)


def test_siglip_without_texts_is_image_only(tmp_path: Path) -> None:
    files = siglip()
    files.config = {"model_type": "siglip_vision_model", "hidden_size": DIMENSION, "image_size": SIDE}
    files.text = None
    assert load_bundle(files.write(tmp_path / "bundle")).text is None


def test_open_clip_s_config_has_size_preprocessing_and_context_length(tmp_path: Path) -> None:
    bundle = load_bundle(open_clip().write(tmp_path / "bundle"))
    assert bundle.layout is OPENCLIP
    assert (bundle.dimension, bundle.context_length) == (DIMENSION, CONTEXT_LENGTH)
    assert bundle.preprocess.resize_shortest_edge is None
    assert bundle.preprocess.mean == (0.5, 0.4, 0.3)
    assert bundle.text is not None
    assert (bundle.text.pad_token_id, bundle.text.cleaning) == (PAD_ID, "canonicalize")


def test_open_clip_s_own_tokenizer_pads_with_zeros(tmp_path: Path) -> None:
    files = open_clip()
    files.others["open_clip_config.json"]["model_cfg"]["text_cfg"] = {"context_length": CONTEXT_LENGTH}
    text = load_bundle(files.write(tmp_path / "bundle")).text
    assert text is not None
    assert (text.pad_token_id, text.cleaning) == (0, "lower")


def test_open_clip_without_a_resize_mode_crops_like_clip(tmp_path: Path) -> None:
    files = open_clip()
    files.others["open_clip_config.json"]["preprocess_cfg"] = {"interpolation": "bilinear", "mean": None}
    spec = load_bundle(files.write(tmp_path / "bundle")).preprocess
    assert (spec.resize_shortest_edge, spec.resample) == (SIDE, "bilinear")
    assert spec.mean == (0.48145466, 0.4578275, 0.40821073)


def test_open_clip_s_inner_configuration_with_its_files_in_subfolders_is_read(tmp_path: Path) -> None:
    files = open_clip()
    files.config, preprocess = OPEN_CLIP_CONFIG["model_cfg"], dict(OPEN_CLIP_CONFIG["preprocess_cfg"])
    files.others = {"visual/preprocess_cfg.json": {**preprocess, "size": [SIDE, SIDE], "mode": "RGB", "fill_color": 0}}
    files.graphs = ("visual/model.onnx", "textual/model.onnx")
    bundle = load_bundle(files.write(tmp_path / "bundle"))
    assert bundle.layout is OPENCLIP
    assert bundle.image_graph.parent.name == "visual"
    assert bundle.preprocess.std == (0.2, 0.25, 0.3)


def test_a_complete_config_wins_over_open_clip_s(tmp_path: Path) -> None:
    files = BundleFiles(others={"open_clip_config.json": dict(OPEN_CLIP_CONFIG)})
    assert load_bundle(files.write(tmp_path / "bundle")).layout is CLIP


@pytest.mark.parametrize(
    ("section", "change", "named"),
    [
        ("preprocess_cfg", {"resize_mode": "longest"}, "longest"),
        ("preprocess_cfg", {"interpolation": "random"}, "random"),
        ("preprocess_cfg", {"std": [0, 1, 1]}, "image_std"),
        ("model_cfg", {"vision_cfg": {"image_size": [8, 16]}, "embed_dim": "many"}, "embed_dim"),
        ("model_cfg", {"text_cfg": {"tokenizer_kwargs": {"strip_sep_token": True}}}, "strip_sep_token"),
        ("model_cfg", {"text_cfg": {"tokenizer_kwargs": {"clean": "all"}}}, "clean"),
    ],
)
def test_unsupported_settings_of_open_clip_are_refused_by_name(
    tmp_path: Path, section: str, change: dict[str, Any], named: str
) -> None:
    files = open_clip()
    files.others["open_clip_config.json"][section].update(change)
    with pytest.raises(ModelError, match=named):
        load_bundle(files.write(tmp_path / "bundle"))


def test_an_oblong_picture_cannot_be_cropped_by_its_shortest_edge(tmp_path: Path) -> None:
    files = open_clip()
    files.others["open_clip_config.json"]["model_cfg"]["vision_cfg"] = {"image_size": [8, 16]}
    files.others["open_clip_config.json"]["preprocess_cfg"]["resize_mode"] = "shortest"
    with pytest.raises(ModelError, match="shortest with 8 x 16"):
        load_bundle(files.write(tmp_path / "bundle"))


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


def test_tokens_are_looked_up_in_special_tokens_map_after_tokenizer_config(tmp_path: Path) -> None:
    files = BundleFiles(
        tokenizer_config={"padding_side": "left"},
        others={"special_tokens_map.json": {"pad_token": {"content": "<pad>"}, "eos_token": "<end>"}},
    )
    text = load_bundle(files.write(tmp_path / "bundle")).text
    assert text is not None
    assert (text.pad_token_id, text.eos_token_id, text.padding_side) == (PAD_ID, END_ID, "left")


def test_a_bundle_may_have_its_own_prompts(tmp_path: Path) -> None:
    files = BundleFiles(others={"prompts.json": {"templates": ["{name}"]}})
    bundle = load_bundle(files.write(tmp_path / "bundle"))
    assert bundle.text is not None
    assert bundle.text.prompts == ("{name}",)


def test_a_bundle_without_prompts_has_clip_s(tmp_path: Path) -> None:
    bundle = load_bundle(BundleFiles().write(tmp_path / "bundle"))
    assert bundle.text is not None
    assert bundle.text.prompts == PHOTO_TEMPLATES


@pytest.mark.parametrize(
    ("templates", "problem"),
    [
        ([], "no templates"),
        (["a photo"], "name"),
        (["{name} {price}"], "price"),
        (["{name"], "not usable"),
        (3, "array"),
    ],
)
def test_invalid_prompts_are_refused(tmp_path: Path, templates: object, problem: str) -> None:
    files = BundleFiles(others={"prompts.json": {"templates": templates}})
    with pytest.raises(ModelError, match=r"prompts\.json is not usable") as caught:
        load_bundle(files.write(tmp_path / "bundle"))
    assert problem in caught.value.message


def test_a_bundle_that_names_no_padding_token_is_refused(tmp_path: Path) -> None:
    config = {**CONFIG, "text_config": {"max_position_embeddings": CONTEXT_LENGTH}}
    folder = BundleFiles(config=config, tokenizer_config=None).write(tmp_path / "bundle")
    with pytest.raises(ModelError, match="names its pad_token"):
        load_bundle(folder)
