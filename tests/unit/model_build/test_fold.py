"""Folding the arithmetic around a tower into its graph, compared with numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from framematch.core.errors import ModelError
from framematch.model_build.bundles.layouts import OPENCLIP, SIGLIP, Layout
from framematch.model_build.files.graph_file import inputs_of
from framematch.model_build.graphs.fold import fold_image_tower, fold_text_tower
from framematch.model_build.onnx_session import OnnxSession
from framematch.vision.manifest import PreprocessSpec
from tests.unit.model_build.bundles import (
    CONTEXT_LENGTH,
    DIMENSION,
    SIDE,
    halved,
    image_tower,
    text_tower,
    token_tower,
    weights,
)

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SPEC = PreprocessSpec(SIDE, SIDE, SIDE, "bicubic", 1 / 255, MEAN, STD)
PIXELS = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
IDS = np.random.default_rng(6).integers(1, 9, (2, CONTEXT_LENGTH))
MASK = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])


def run(model: ModelProto, **inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    (embedding,) = ReferenceEvaluator(model).run(["embedding"], inputs)
    return np.asarray(embedding)


def run_raw(tower: ModelProto, value: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    (output,) = ReferenceEvaluator(tower).run(None, {tower.graph.input[0].name: value})
    return np.asarray(output)


def unit(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_pixels_are_rescaled_normalised_and_transposed_as_numpy_does_it() -> None:
    folded = fold_image_tower(image_tower(), SPEC, DIMENSION)
    normalised = ((PIXELS / 255 - MEAN) / STD).transpose(0, 3, 1, 2).reshape(3, -1)
    np.testing.assert_allclose(run(folded, pixels=PIXELS), unit(normalised @ weights(3 * SIDE * SIDE)), atol=1e-5)


def test_the_image_graph_takes_uint8_and_a_dynamic_batch() -> None:
    folded = fold_image_tower(image_tower(), SPEC, DIMENSION)
    (pixels,) = folded.graph.input
    assert pixels.type.tensor_type.elem_type == TensorProto.UINT8
    assert [size.dim_param or size.dim_value for size in pixels.type.tensor_type.shape.dim] == ["N", SIDE, SIDE, 3]
    assert run(folded, pixels=PIXELS[:1]).shape == (1, DIMENSION)


@pytest.mark.parametrize("element_type", [TensorProto.INT64, TensorProto.INT32])
def test_token_ids_and_mask_reach_the_text_tower(element_type: int) -> None:
    folded = fold_text_tower(text_tower(element_type=element_type), CONTEXT_LENGTH, DIMENSION)
    expected = unit((IDS * MASK) @ weights(CONTEXT_LENGTH, seed=1))
    assert list(inputs_of(folded)) == ["input_ids", "attention_mask"]
    np.testing.assert_allclose(run(folded, input_ids=IDS, attention_mask=MASK), expected, atol=1e-5)


def test_a_text_tower_without_mask_is_folded_too() -> None:
    folded = fold_text_tower(text_tower(with_mask=False), CONTEXT_LENGTH, DIMENSION)
    assert list(inputs_of(folded)) == ["input_ids"]
    np.testing.assert_allclose(run(folded, input_ids=IDS), unit(IDS @ weights(CONTEXT_LENGTH, seed=1)), atol=1e-5)


def test_a_zero_vector_becomes_nan_and_not_a_silent_zero() -> None:
    folded = fold_image_tower(image_tower(np.zeros((3 * SIDE * SIDE, DIMENSION), np.float32)), SPEC, DIMENSION)
    with np.errstate(invalid="ignore"):
        assert np.isnan(run(folded, pixels=PIXELS)).all()


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (SIGLIP, ("pixel_values", "pooler_output")),
        (OPENCLIP, ("image", "embedding")),
        (OPENCLIP, ("input", "output")),
        (OPENCLIP, ("pixel_values", "image_embeds")),
    ],
)
def test_a_folded_image_tower_equals_the_tower_with_normalised_input(layout: Layout, names: tuple[str, str]) -> None:
    normalised = ((PIXELS / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
    expected = run_raw(image_tower(names=names), normalised)
    folded = fold_image_tower(image_tower(names=names), SPEC, DIMENSION, layout)
    np.testing.assert_allclose(run(folded, pixels=PIXELS), unit(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "names", "element_type"),
    [
        (SIGLIP, ("input_ids", "pooler_output"), TensorProto.INT64),
        (OPENCLIP, ("text", "embedding"), TensorProto.INT32),
    ],
)
def test_a_folded_text_tower_equals_the_tower(layout: Layout, names: tuple[str, str], element_type: int) -> None:
    ids = IDS % 6
    expected = run_raw(token_tower(names=names), ids)
    tower = token_tower(names=names, element_type=element_type)
    folded = fold_text_tower(tower, CONTEXT_LENGTH, DIMENSION, layout)
    assert list(inputs_of(folded)) == ["input_ids"]
    np.testing.assert_allclose(run(folded, input_ids=ids), unit(expected), atol=1e-5)


def test_siglip_s_pooled_output_is_used_and_not_the_hidden_states() -> None:
    tower = image_tower(names=("pixel_values", "pooler_output"))
    tower.graph.node.append(helper.make_node("Identity", ["pixels"], ["last_hidden_state"]))
    tower.graph.output.insert(0, helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, None))
    folded = fold_image_tower(tower, SPEC, DIMENSION, SIGLIP)
    assert [value.name for value in folded.graph.output] == ["embedding"]


def test_an_fp16_tower_is_widened_to_fp32() -> None:
    folded = fold_image_tower(halved(image_tower()), SPEC, DIMENSION)
    matrix = weights(3 * SIDE * SIDE).astype(np.float16).astype(np.float32)
    normalised = ((PIXELS / 255 - MEAN) / STD).transpose(0, 3, 1, 2).reshape(3, -1)
    assert not [tensor.name for tensor in folded.graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    np.testing.assert_allclose(run(folded, pixels=PIXELS), unit(normalised @ matrix), atol=1e-5)


def test_casts_to_fp16_in_a_branch_are_widened_too() -> None:
    def branch(name: str) -> onnx.GraphProto:
        half = numpy_helper.from_array(np.full((1,), 2, np.float16), "two")
        nodes = [
            helper.make_node("Constant", [], [f"{name}_two"], value=half),
            helper.make_node("Cast", ["pixels"], [f"{name}_cast"], to=TensorProto.FLOAT16),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_two"], [name]),
        ]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT16, None)])

    tower = halved(image_tower())
    condition = numpy_helper.from_array(np.array(True), "always")
    tower.graph.initializer.append(condition)
    tower.graph.node.insert(
        1, helper.make_node("If", ["always"], ["doubled"], then_branch=branch("then"), else_branch=branch("other"))
    )
    tower.graph.node[2].input[0] = "doubled"
    doubled = fold_image_tower(tower, SPEC, DIMENSION)
    plain = fold_image_tower(halved(image_tower()), SPEC, DIMENSION)
    np.testing.assert_allclose(run(doubled, pixels=PIXELS), run(plain, pixels=PIXELS), atol=1e-6)


def test_the_added_operators_are_supported_by_tensorrt_and_the_quantiser() -> None:
    folded = fold_image_tower(image_tower(), SPEC, DIMENSION)
    added = {node.op_type for node in folded.graph.node} - {node.op_type for node in image_tower().graph.node}
    assert added == {"Cast", "Transpose", "Mul", "Add", "ReduceSum", "Sqrt", "Div"}


def test_initialisers_that_old_exports_list_as_inputs_do_not_count_as_inputs() -> None:
    tower = image_tower()
    tower.graph.input.append(
        onnx.helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [3 * SIDE * SIDE, DIMENSION])
    )
    assert list(inputs_of(fold_image_tower(tower, SPEC, DIMENSION))) == ["pixels"]


def renamed(tower: ModelProto, old: str, new: str) -> ModelProto:
    for value in (*tower.graph.input, *tower.graph.output):
        value.name = new if value.name == old else value.name
    for node in tower.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    return tower


def with_opset(version: int) -> ModelProto:
    tower = image_tower()
    tower.opset_import[0].version = version
    return tower


def newer_format() -> ModelProto:
    tower = image_tower()
    tower.ir_version = 99
    return tower


def quantised() -> ModelProto:
    tower = image_tower()
    tower.graph.node.append(helper.make_node("DequantizeLinear", ["q", "scale"], ["unused"]))
    return tower


def retyped(tower: ModelProto, element_type: int) -> ModelProto:
    tower.graph.input[0].type.tensor_type.elem_type = element_type
    return tower


def undeclared(dimension: int) -> ModelProto:
    """The output's size follows only from the weights, as in exports that name it `Gemm_dim_1`."""
    tower = image_tower(np.ones((3 * SIDE * SIDE, dimension), np.float32))
    tower.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "Gemm_dim_1"
    return tower


def fixed_inside() -> ModelProto:
    """A batch that is dynamic in the input, and fixed to one by an inner operator."""
    tower = image_tower()
    tower.graph.initializer.append(numpy_helper.from_array(np.array([1, -1], np.int64), "one_row"))
    tower.graph.node[0].CopyFrom(helper.make_node("Reshape", ["pixel_values", "one_row"], ["pixels"]))
    return tower


@pytest.mark.parametrize(
    ("tower", "message"),
    [
        (renamed(image_tower(), "pixel_values", "image"), r"expected pixel_values -> image_embeds, found image float"),
        (
            renamed(image_tower(), "image_embeds", "output"),
            r"found pixel_values float \[B, 3, 8, 8\] -> output float \[B, 4\]",
        ),
        (image_tower(side=SIDE + 1), "pixel_values has shape"),
        (image_tower(batch=1), "pixel_values has a fixed batch of 1"),
        (fixed_inside(), "embedding has a fixed batch of 1"),
        (quantised(), r"quantised already .DequantizeLinear"),
        (retyped(image_tower(), TensorProto.BFLOAT16), "pixel_values bfloat16"),
        (undeclared(DIMENSION + 1), r"embedding has shape .'N', 5., the bundle needs .'N', 4."),
        (image_tower(np.ones((3 * SIDE * SIDE, DIMENSION + 1), np.float32)), "image_embeds has shape"),
        (image_tower(np.ones((7, DIMENSION), np.float32)), "not valid ONNX"),
        (with_opset(12), "opset 12; supported are 13 to"),
        (with_opset(99), "opset 99"),
        (newer_format(), "IR version 99"),
    ],
)
def test_a_graph_that_does_not_fit_the_bundle_is_refused(tower: ModelProto, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fold_image_tower(tower, SPEC, DIMENSION)


def test_onnx_runtime_runs_the_newest_accepted_version() -> None:
    tower = with_opset(onnx.defs.onnx_opset_version())
    tower.ir_version = onnx.IR_VERSION
    graph = fold_image_tower(tower, SPEC, DIMENSION).SerializeToString()
    assert OnnxSession(graph, threads=1).embed({"pixels": PIXELS}).shape == (3, DIMENSION)


def test_ids_that_are_not_integers_are_refused() -> None:
    with pytest.raises(ModelError, match="no CLIP text tower"):
        fold_text_tower(retyped(text_tower(with_mask=False), TensorProto.FLOAT), CONTEXT_LENGTH, DIMENSION)


def test_a_text_tower_with_other_inputs_than_ids_and_mask_is_refused_with_their_names() -> None:
    tower = text_tower()
    tower.graph.input.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, ["B", "L"]))
    with pytest.raises(ModelError, match=r"position_ids int64 \[B, L\]"):
        fold_text_tower(tower, CONTEXT_LENGTH, DIMENSION)


def test_a_text_tower_of_another_context_length_is_refused() -> None:
    with pytest.raises(ModelError, match="input_ids has shape"):
        fold_text_tower(token_tower(), CONTEXT_LENGTH + 1, DIMENSION)
