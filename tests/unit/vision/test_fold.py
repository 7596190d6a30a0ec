"""Folding the arithmetic around a tower into its graph, compared with numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto, TensorProto
from onnx.reference import ReferenceEvaluator

from framematch.core.errors import ModelError
from framematch.vision.fold import fold_image_tower, fold_text_tower, input_names
from framematch.vision.processor_config import PreprocessSpec
from tests.unit.vision.bundles import CONTEXT_LENGTH, DIMENSION, SIDE, image_tower, text_tower, weights

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SPEC = PreprocessSpec(SIDE, SIDE, SIDE, "bicubic", 1 / 255, MEAN, STD)
PIXELS = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
IDS = np.random.default_rng(6).integers(1, 9, (2, CONTEXT_LENGTH))
MASK = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])


def run(model: ModelProto, **inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    (embedding,) = ReferenceEvaluator(model).run(["embedding"], inputs)
    return np.asarray(embedding)


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
    assert input_names(folded) == ["input_ids", "attention_mask"]
    np.testing.assert_allclose(run(folded, input_ids=IDS, attention_mask=MASK), expected, atol=1e-5)


def test_a_text_tower_without_mask_is_folded_too() -> None:
    folded = fold_text_tower(text_tower(with_mask=False), CONTEXT_LENGTH, DIMENSION)
    assert input_names(folded) == ["input_ids"]
    np.testing.assert_allclose(run(folded, input_ids=IDS), unit(IDS @ weights(CONTEXT_LENGTH, seed=1)), atol=1e-5)


def test_a_zero_vector_becomes_nan_and_not_a_silent_zero() -> None:
    folded = fold_image_tower(image_tower(np.zeros((3 * SIDE * SIDE, DIMENSION), np.float32)), SPEC, DIMENSION)
    with np.errstate(invalid="ignore"):
        assert np.isnan(run(folded, pixels=PIXELS)).all()


def test_the_tower_itself_is_left_as_it_was() -> None:
    tower = image_tower()
    before = tower.SerializeToString(deterministic=True)
    fold_image_tower(tower, SPEC, DIMENSION)
    assert tower.SerializeToString(deterministic=True) == before


def test_initialisers_that_old_exports_list_as_inputs_are_no_inputs() -> None:
    tower = image_tower()
    tower.graph.input.append(
        onnx.helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [3 * SIDE * SIDE, DIMENSION])
    )
    assert input_names(fold_image_tower(tower, SPEC, DIMENSION)) == ["pixels"]


def renamed(tower: ModelProto, old: str, new: str) -> ModelProto:
    for value in (*tower.graph.input, *tower.graph.output):
        value.name = new if value.name == old else value.name
    for node in tower.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    return tower


def old_opset() -> ModelProto:
    tower = image_tower()
    tower.opset_import[0].version = 12
    return tower


@pytest.mark.parametrize(
    ("tower", "message"),
    [
        (renamed(image_tower(), "pixel_values", "image"), "inputs are image; expected pixel_values"),
        (renamed(image_tower(), "image_embeds", "output"), "no output image_embeds .it has: output"),
        (image_tower(side=SIDE + 1), "pixel_values has shape"),
        (image_tower(batch=1), "pixel_values has shape"),
        (image_tower(np.ones((3 * SIDE * SIDE, DIMENSION + 1), np.float32)), "image_embeds has shape"),
        (image_tower(np.ones((7, DIMENSION), np.float32)), "not valid ONNX"),
        (old_opset(), "opset 12"),
    ],
)
def test_a_graph_that_does_not_fit_the_bundle_is_refused(tower: ModelProto, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fold_image_tower(tower, SPEC, DIMENSION)
