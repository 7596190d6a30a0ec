"""Folds the arithmetic around a CLIP tower into its ONNX graph: uint8 pixels go in, unit vectors come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from framematch.core.errors import ModelError
from framematch.vision.processor_config import PreprocessSpec

# Opset 13 made ReduceSum take its axes as an input; that form still holds in every later one.
_MIN_OPSET = 13
# Keeps the tower's own names apart from those that we add.
_PREFIX = "tower/"
_EXPORT_HINT = "Use a CLIP ONNX export with separate vision_model.onnx and text_model.onnx (fp32, dynamic batch)"


@dataclass(frozen=True)
class _Served:
    """One input of the folded graph, and the nodes that lead from it to the tower's own input."""

    value: ValueInfoProto
    nodes: Sequence[NodeProto]
    constants: Sequence[TensorProto] = ()


def fold_image_tower(tower: ModelProto, spec: PreprocessSpec, dimension: int) -> ModelProto:
    """`pixel_values` -> `image_embeds` becomes `pixels` uint8 [N, H, W, 3] -> `embedding` float32 [N, D], unit length.

    Raises:
        ModelError: the graph's inputs or outputs are not those of a CLIP image tower, or do not fit the bundle.
    """
    found = _inputs(tower)
    _require_inputs(found, required={"pixel_values"}, optional=set())
    _require_shape(found["pixel_values"], (None, 3, spec.crop_height, spec.crop_width))
    # (x * rescale - mean) / std == x * (rescale / std) + (-mean / std), per channel of NCHW.
    std = np.array(spec.std, np.float64)
    scale = (spec.rescale_factor / std).astype(np.float32).reshape(1, 3, 1, 1)
    offset = (-np.array(spec.mean, np.float64) / std).astype(np.float32).reshape(1, 3, 1, 1)
    served = _Served(
        value=helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", spec.crop_height, spec.crop_width, 3]),
        nodes=[
            # The cast comes first: TensorRT takes uint8 only as the input of a cast.
            helper.make_node("Cast", ["pixels"], ["pixels_float"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["pixels_float"], ["pixels_nchw"], perm=[0, 3, 1, 2]),
            helper.make_node("Mul", ["pixels_nchw", "pixel_scale"], ["pixels_scaled"]),
            helper.make_node("Add", ["pixels_scaled", "pixel_offset"], [f"{_PREFIX}pixel_values"]),
        ],
        constants=[numpy_helper.from_array(scale, "pixel_scale"), numpy_helper.from_array(offset, "pixel_offset")],
    )
    return _fold(tower, [served], "image_embeds", dimension)


def fold_text_tower(tower: ModelProto, context_length: int, dimension: int) -> ModelProto:
    """`input_ids` (and `attention_mask`) int64 [N, L] -> `embedding` float32 [N, D], unit length.

    Raises:
        ModelError: the graph's inputs or outputs are not those of a CLIP text tower, or do not fit the bundle.
    """
    found = _inputs(tower)
    _require_inputs(found, required={"input_ids"}, optional={"attention_mask"})
    served = []
    for name, value in found.items():
        _require_shape(value, (None, context_length))
        element_type = value.type.tensor_type.elem_type
        served.append(
            _Served(
                value=helper.make_tensor_value_info(name, TensorProto.INT64, ["N", context_length]),
                nodes=[helper.make_node("Cast", [name], [f"{_PREFIX}{name}"], to=element_type)],
            )
        )
    return _fold(tower, served, "text_embeds", dimension)


def input_names(model: ModelProto) -> list[str]:
    """Names of the graph's inputs, in order; initialisers that old exports list among them are not inputs."""
    return list(_inputs(model))


def _fold(tower: ModelProto, served: Sequence[_Served], output: str, dimension: int) -> ModelProto:
    _require_opset(tower)
    outputs = {value.name: value for value in tower.graph.output}
    if output not in outputs:
        raise ModelError(f"the graph has no output {output} (it has: {', '.join(outputs)})", hint=_EXPORT_HINT)
    _require_shape(outputs[output], (None, dimension))

    folded = onnx.compose.add_prefix(tower, _PREFIX)
    graph: GraphProto = folded.graph
    tower_nodes = list(graph.node)
    _replace(graph.input, [item.value for item in served])
    _replace(graph.output, [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", dimension])])
    _replace(graph.node, [*(node for item in served for node in item.nodes), *tower_nodes, *_unit_length(output)])
    graph.initializer.extend(constant for item in served for constant in item.constants)
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "last_axis"))
    # Shapes that the exporter wrote down for the inside are hints only, and may name the old inputs.
    _replace(graph.value_info, [])
    _check(folded)
    return folded


def _unit_length(output: str) -> list[NodeProto]:
    """Divide by the length. A zero vector gives NaN on purpose: the client refuses it instead of matching nothing."""
    return [
        helper.make_node("Cast", [f"{_PREFIX}{output}"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["raw", "raw"], ["raw_squared"]),
        helper.make_node("ReduceSum", ["raw_squared", "last_axis"], ["squared_length"], keepdims=1),
        helper.make_node("Sqrt", ["squared_length"], ["length"]),
        helper.make_node("Div", ["raw", "length"], ["embedding"]),
    ]


def _inputs(model: ModelProto) -> dict[str, ValueInfoProto]:
    constants = {constant.name for constant in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constants}


def _replace(field: "list[object]", values: Sequence[object]) -> None:
    del field[:]
    field.extend(values)


def _require_inputs(found: Mapping[str, ValueInfoProto], *, required: set[str], optional: set[str]) -> None:
    if not required <= found.keys() <= required | optional:
        wanted = ", ".join([*required, *(f"{name} (optional)" for name in optional)])
        raise ModelError(f"the graph's inputs are {', '.join(found)}; expected {wanted}", hint=_EXPORT_HINT)


def _require_shape(value: ValueInfoProto, expected: Sequence[int | None]) -> None:
    """Each size must be dynamic or the expected one; None stands for the batch, which must be dynamic."""
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim]
    fits = len(sizes) == len(expected) and all(
        size is None or size == wanted for size, wanted in zip(sizes, expected, strict=True)
    )
    if not fits:
        wanted = [size or "N" for size in expected]
        raise ModelError(
            f"the graph's {value.name} has shape {[size or 'N' for size in sizes]}, the bundle needs {wanted}",
            hint=f"config.json, preprocessor_config.json and the graphs must be of one model. {_EXPORT_HINT}",
        )


def _require_opset(model: ModelProto) -> None:
    version = next((opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}), 0)
    if version < _MIN_OPSET:
        raise ModelError(f"the graph has ONNX opset {version}, at least {_MIN_OPSET} is needed", hint=_EXPORT_HINT)


def _check(model: ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the graph is not valid ONNX: {str(error).splitlines()[0]}", hint=_EXPORT_HINT) from error
