"""Folds the arithmetic around a tower into its ONNX graph: uint8 pixels or token ids go in, unit vectors come out.

Only plain operators are added (Cast, Transpose, Mul, Add, ReduceSum, Sqrt, Div), which TensorRT and ONNX Runtime's
quantiser support.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from framematch.core.errors import ModelError
from framematch.model_build.bundles.layouts import CLIP, SUPPORTED_HINT, Layout
from framematch.model_build.files.graph_file import describe_graph, inputs_of
from framematch.model_build.files.graph_walk import all_graphs, all_nodes, all_tensors
from framematch.model_build.graphs.graph_checks import check_graph, require_servable, require_shape
from framematch.vision.manifest import PreprocessSpec

ATTENTION_MASK = "attention_mask"
INPUT_IDS = "input_ids"
PIXELS = "pixels"
EMBEDDING = "embedding"

# Prefix of the tower's own names, so that added names cannot clash with them.
_PREFIX = "tower/"
_ID_TYPES = {TensorProto.INT64, TensorProto.INT32}
# Attributes with the type of an operator's result.
_TYPE_ATTRIBUTES = {"to", "dtype", "output_dtype", "stash_type", "softmax_precision"}


@dataclass(frozen=True)
class _FoldedInput:
    """One input of the folded graph, and the nodes from it to the tower's own input."""

    value: ValueInfoProto
    nodes: Sequence[NodeProto]
    constants: Sequence[TensorProto] = ()


@dataclass(frozen=True)
class _TowerNames:
    """The names that a tower's input and output may have, in order of preference."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]

    def find_in(self, tower: ModelProto) -> tuple[str, str]:
        """The input and the output of `tower`."""
        inputs, outputs = inputs_of(tower), {value.name for value in tower.graph.output}
        name = next((name for name in self.inputs if name in inputs), None)
        output = next((name for name in self.outputs if name in outputs), None)
        if name is None or output is None:
            raise self.mismatch(tower)
        return name, output

    def mismatch(self, tower: ModelProto) -> ModelError:
        expected = f"{' or '.join(self.inputs)} -> {' or '.join(self.outputs)}"
        return ModelError(
            f"the graph is no {self.kind}: expected {expected}, found {describe_graph(tower)}", hint=SUPPORTED_HINT
        )


def fold_image_tower(tower: ModelProto, spec: PreprocessSpec, dimension: int, layout: Layout = CLIP) -> ModelProto:
    """`pixel_values` -> `image_embeds` becomes `pixels` uint8 [N, H, W, 3], RGB -> `embedding` float32 [N, D].

    The embedding has unit length. Other layouts have other names. `tower` is changed, as a copy would need its memory
    again: use the returned graph.

    Raises:
        ModelError: the graph is not an image tower of this layout, does not fit the bundle, or cannot be served.
    """
    require_servable(tower)
    widen_to_fp32(tower)
    names = _TowerNames(f"{layout.name} image tower", layout.pixel_inputs, layout.image_outputs)
    name, output = names.find_in(tower)
    found = inputs_of(tower)
    if len(found) > 1 or found[name].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise names.mismatch(tower)
    require_shape(found[name], (None, 3, spec.crop_height, spec.crop_width))
    # (x * rescale - mean) / std == x * (rescale / std) + (-mean / std), per channel of NCHW.
    std = np.array(spec.std, np.float64)
    scale = (spec.rescale_factor / std).astype(np.float32).reshape(1, 3, 1, 1)
    offset = (-np.array(spec.mean, np.float64) / std).astype(np.float32).reshape(1, 3, 1, 1)
    pixels = _FoldedInput(
        value=helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["N", spec.crop_height, spec.crop_width, 3]),
        nodes=[
            # The cast is first, because TensorRT accepts uint8 only as the input of a cast.
            helper.make_node("Cast", [PIXELS], ["pixels_float"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["pixels_float"], ["pixels_nchw"], perm=[0, 3, 1, 2]),
            helper.make_node("Mul", ["pixels_nchw", "pixel_scale"], ["pixels_scaled"]),
            helper.make_node("Add", ["pixels_scaled", "pixel_offset"], [f"{_PREFIX}{name}"]),
        ],
        constants=[numpy_helper.from_array(scale, "pixel_scale"), numpy_helper.from_array(offset, "pixel_offset")],
    )
    return _fold(tower, [pixels], output, dimension)


def fold_text_tower(tower: ModelProto, context_length: int, dimension: int, layout: Layout = CLIP) -> ModelProto:
    """`input_ids` (and `attention_mask`) -> `text_embeds` becomes the same int64 [N, L] -> `embedding` float32 [N, D].

    All else is as in `fold_image_tower`.

    Raises:
        ModelError: the graph is not a text tower of this layout, does not fit the bundle, or cannot be served.
    """
    require_servable(tower)
    widen_to_fp32(tower)
    names = _TowerNames(f"{layout.name} text tower", layout.id_inputs, layout.text_outputs)
    ids, output = names.find_in(tower)
    inputs = []
    for name, value in inputs_of(tower).items():
        element_type = value.type.tensor_type.elem_type
        if name not in {ids, ATTENTION_MASK} or element_type not in _ID_TYPES:
            raise names.mismatch(tower)
        require_shape(value, (None, context_length))
        served_name = INPUT_IDS if name == ids else name
        inputs.append(
            _FoldedInput(
                value=helper.make_tensor_value_info(served_name, TensorProto.INT64, ["N", context_length]),
                nodes=[helper.make_node("Cast", [served_name], [f"{_PREFIX}{name}"], to=element_type)],
            )
        )
    return _fold(tower, inputs, output, dimension)


def widen_to_fp32(model: ModelProto) -> None:
    """Convert every float16 to float32, in place, as CPUs compute it faster. Every served graph is made from fp32."""
    for tensor in all_tensors(model):
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for graph in all_graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            tensor_type = value.type.tensor_type
            if tensor_type.elem_type == TensorProto.FLOAT16:
                tensor_type.elem_type = TensorProto.FLOAT


def _fold(tower: ModelProto, inputs: Sequence[_FoldedInput], output: str, dimension: int) -> ModelProto:
    (result,) = (value for value in tower.graph.output if value.name == output)
    require_shape(result, (None, dimension))
    folded = onnx.compose.add_prefix(tower, _PREFIX, inplace=True)
    graph: GraphProto = folded.graph
    tower_nodes = list(graph.node)
    _replace(graph.input, [item.value for item in inputs])
    _replace(graph.output, [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["N", dimension])])
    _replace(graph.node, [*(node for item in inputs for node in item.nodes), *tower_nodes, *_unit_length(output)])
    graph.initializer.extend(constant for item in inputs for constant in item.constants)
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "last_axis"))
    # The exporter's shapes of inner values are only hints, and may refer to the old inputs.
    _replace(graph.value_info, [])
    check_graph(folded)
    return folded


def _unit_length(output: str) -> list[NodeProto]:
    """Divide by the length. A zero vector becomes NaN on purpose, so that the client refuses it."""
    return [
        helper.make_node("Cast", [f"{_PREFIX}{output}"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["raw", "raw"], ["raw_squared"]),
        helper.make_node("ReduceSum", ["raw_squared", "last_axis"], ["squared_length"], keepdims=1),
        helper.make_node("Sqrt", ["squared_length"], ["length"]),
        helper.make_node("Div", ["raw", "length"], [EMBEDDING]),
    ]


def _replace(field: "list[object]", values: Sequence[object]) -> None:
    del field[:]
    field.extend(values)
