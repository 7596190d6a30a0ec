"""A bundle's graphs become served graphs, or the error names the problem."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.graphs.token_table import token_table_rows
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession
from tests.unit.model_build.bundles import (
    CONTEXT_LENGTH,
    DIMENSION,
    SIDE,
    WORDS,
    BundleFiles,
    image_only,
    image_tower,
    open_clip,
    siglip,
    token_tower,
    weights,
)

PIXELS = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def with_external_data(folder: Path) -> Path:
    """Move the image tower's weights to a separate file, and return it."""
    graph = folder / "onnx" / "vision_model.onnx"
    onnx.save(onnx.load(graph), graph, save_as_external_data=True, location="vision_model.onnx_data", size_threshold=0)
    return graph.with_name("vision_model.onnx_data")


@pytest.mark.parametrize(("make", "towers"), [(BundleFiles, 2), (image_only, 1), (siglip, 2), (open_clip, 2)])
def test_each_layout_has_its_towers(tmp_path: Path, make: Callable[[], BundleFiles], towers: int) -> None:
    folded = fold_towers(load_bundle(make().write(tmp_path / "bundle")))
    assert list(folded) == ["clip_image", "clip_text"][:towers]
    assert [(item.name, item.dims) for item in folded["clip_image"].inputs] == [("pixels", (SIDE, SIDE, 3))]


@pytest.mark.parametrize("make", [siglip, open_clip])
def test_folded_towers_equal_the_unfolded_ones(tmp_path: Path, make: Callable[[], BundleFiles]) -> None:
    files = make()
    bundle = load_bundle(files.write(tmp_path / "bundle"))
    folded = fold_towers(bundle)
    spec = bundle.preprocess
    normalised = ((PIXELS / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2).astype(np.float32)
    ids, _mask = bundle.load_tokenizer()(["Milk, fresh!", "kiwi"])
    assert files.text is not None
    for tower, given, name, served in (
        (files.image, normalised, "clip_image", {"pixels": PIXELS}),
        (files.text, ids.astype(np.int32), "clip_text", {"input_ids": ids}),
    ):
        (output,) = ReferenceEvaluator(tower).run(None, {tower.graph.input[0].name: given})
        raw = np.asarray(output)
        embedding = OnnxSession(folded[name].graph, threads=1).embed(served)
        np.testing.assert_allclose(embedding, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)


def test_weights_beside_the_graph_become_part_of_the_served_graph(tmp_path: Path) -> None:
    plain = fold_towers(load_bundle(BundleFiles().write(tmp_path / "plain")))
    folder = BundleFiles().write(tmp_path / "bundle")
    with_external_data(folder)
    assert fold_towers(load_bundle(folder))["clip_image"].graph == plain["clip_image"].graph


def test_weights_behind_symbolic_links_are_read(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    data = with_external_data(folder)
    data.rename(tmp_path / "blob")
    data.symlink_to(tmp_path / "blob")
    assert fold_towers(load_bundle(folder))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    with_external_data(folder).unlink()
    with pytest.raises(ModelError, match=r"vision_model\.onnx keeps its weights in .*onnx_data, which is missing"):
        fold_towers(load_bundle(folder))


def test_truncated_weights_are_named(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    os.truncate(with_external_data(folder), 100)
    with pytest.raises(ModelError, match=r"onnx_data is cut short: it has 100 bytes, vision_model\.onnx needs 3072"):
        fold_towers(load_bundle(folder))


def test_a_git_lfs_pointer_in_place_of_weights_is_named(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    with_external_data(folder).write_bytes(LFS_POINTER)
    with pytest.raises(ModelError, match="onnx_data is a git-LFS pointer"):
        fold_towers(load_bundle(folder))


@pytest.mark.parametrize("location", ["../weights", "/etc/passwd", ""])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    with_external_data(folder)
    path = folder / "onnx" / "vision_model.onnx"
    graph = onnx.load(path, load_external_data=False)
    graph.graph.initializer[0].external_data[0].value = location
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="keeps weights outside of its folder"):
        fold_towers(load_bundle(folder))


def test_a_graph_of_more_than_two_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    data = with_external_data(folder)
    os.truncate(data, 3_000_000_000)  # a sparse file
    path = folder / "onnx" / "vision_model.onnx"
    graph = onnx.load(path, load_external_data=False)
    entries = graph.graph.initializer[0].external_data
    next(entry for entry in entries if entry.key == "length").value = "3000000000"
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match=r"vision_model\.onnx has 3\.0 GB of weights"):
        fold_towers(load_bundle(folder))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it has no operators"),
        (image_tower().SerializeToString()[:-50], "not a readable ONNX graph"),
        (b"<html>404</html>", "not a readable ONNX graph"),
        (LFS_POINTER, "is a git-LFS pointer"),
    ],
)
def test_a_file_that_is_not_a_graph_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    (folder / "onnx" / "text_model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=rf"text_model\.onnx .*{problem}") as caught:
        fold_towers(load_bundle(folder))
    assert "\n" not in caught.value.message


def test_towers_of_different_dimensions_are_refused_with_the_file_that_differs(tmp_path: Path) -> None:
    files = BundleFiles(text=token_tower(names=("input_ids", "text_embeds")))
    files.config = {**(files.config or {}), "projection_dim": DIMENSION + 1}
    files.image = image_tower(np.ones((3 * SIDE * SIDE, DIMENSION + 1), np.float32))
    with pytest.raises(ModelError, match=r"text_model\.onnx cannot be used: .*text_embeds has shape .*4.*needs .*5"):
        fold_towers(load_bundle(files.write(tmp_path / "bundle")))


def test_a_tokenizer_with_more_words_than_the_text_tower_is_refused(tmp_path: Path) -> None:
    files = siglip()
    files.text = token_tower(len(WORDS) - 1, names=("input_ids", "pooler_output"))
    with pytest.raises(ModelError, match=r"the graph knows tokens 0 to 4, but .*tokenizer\.json gives ids up to 5"):
        fold_towers(load_bundle(files.write(tmp_path / "bundle")))


def test_a_tokenizer_without_the_model_s_end_token_is_refused(tmp_path: Path) -> None:
    files = BundleFiles(tokenizer_config={"pad_token": "<pad>", "eos_token": "<start>"})
    with pytest.raises(ModelError, match=r"tokenizer\.json ends texts with token 1; the model's end token is 0"):
        fold_towers(load_bundle(files.write(tmp_path / "bundle")))


def test_the_table_of_tokens_is_found_through_casts_and_constants() -> None:
    tower = token_tower(rows=9)
    table = tower.graph.initializer[0]
    tower.graph.node.insert(0, helper.make_node("Constant", [], ["constant"], value=table))
    tower.graph.node.insert(1, helper.make_node("Identity", ["constant"], ["table"]))
    tower.graph.node.insert(2, helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT32))
    tower.graph.node[3].input[:] = ["table", "ids"]
    del tower.graph.initializer[0]
    assert token_table_rows(tower, "input_ids") == 9


def test_a_graph_without_a_lookup_of_tokens_has_no_table() -> None:
    tower = token_tower()
    tower.graph.initializer.append(numpy_helper.from_array(weights(3), "other"))
    tower.graph.node[0].input[1] = "other"
    assert token_table_rows(tower, "input_ids") is None


def test_texts_of_the_bundle_have_the_served_context_length(tmp_path: Path) -> None:
    bundle = load_bundle(siglip().write(tmp_path / "bundle"))
    (ids,) = fold_towers(bundle)["clip_text"].inputs
    assert ids.dims == (CONTEXT_LENGTH,)
    assert bundle.load_tokenizer()(["milk"])[0].shape == (1, CONTEXT_LENGTH)
