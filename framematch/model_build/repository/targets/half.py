"""Converts a tower's graph to half precision (fp16), for GPUs.

The graph itself is converted, because TensorRT 11 takes precisions only from it. ONNX Runtime runs the same graph, so
the loss can be measured without a GPU.
"""

from collections.abc import Iterator

import onnx
from onnx import ModelProto, NodeProto, TensorProto
from onnxruntime.transformers import float16
from onnxruntime.transformers.onnx_model import OnnxModel

from framematch.model_build.graphs.graph_checks import skeleton_of
from framematch.model_build.graphs.towers import Tower

# The prefix of the export's own values in a folded graph. The operators around the tower stay fp32, because a pixel's
# value and an embedding's squared length need more precision.
_EXPORT = "tower/"
# Older exports write a layer norm as several operators, and its square can exceed 65504, the largest fp16 number.
_AFTER_A_SQUARE = frozenset({"ReduceMean", "Add", "Sqrt", "Div"})


def half_precision(tower: Tower) -> Tower:
    """`tower` with weights and activations in fp16. Its inputs and its output keep their types."""
    model = onnx.load_from_string(tower.graph)
    for index, node in enumerate(model.graph.node):
        node.name = f"{index}:{node.name}"  # the converter needs unique names, which ONNX does not require
    _infer_types(model)
    kept = [*_around_the_tower(model), *_variances(model)]
    converted: ModelProto = float16.convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, node_block_list=kept
    )
    _drop_narrowing_casts(converted)
    OnnxModel.graph_topological_sort(converted.graph, is_deterministic=True)
    graph: bytes = converted.SerializeToString(deterministic=True)
    return Tower(graph, tower.inputs)


def _infer_types(model: ModelProto) -> None:
    """Add the types of inner values, which the converter needs. Inference copies its input, so weights are left out."""
    inferred = onnx.shape_inference.infer_shapes(skeleton_of(model))
    del model.graph.value_info[:]
    model.graph.value_info.extend(inferred.graph.value_info)


def _around_the_tower(model: ModelProto) -> Iterator[str]:
    for node in model.graph.node:
        if not all(name.startswith(_EXPORT) for name in (*node.input, *node.output) if name):
            yield node.name


def _variances(model: ModelProto) -> Iterator[str]:
    """Squares, and the nodes after them up to the division by the deviation. An ONNX graph's nodes are sorted."""
    wide: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Pow" or (node.op_type in _AFTER_A_SQUARE and wide.intersection(node.input)):
            yield node.name
            if node.op_type != "Div":
                wide.update(node.output)


def _drop_narrowing_casts(model: ModelProto) -> None:
    """Remove the casts to fp16 and back that the converter inserts between two fp32 nodes."""
    narrowed = {node.output[0]: node for node in model.graph.node if _casts_to(node, TensorProto.FLOAT16)}
    for node in model.graph.node:
        # The converter marks outputs of fp32 nodes by this suffix; other casts to fp16 may be from integers.
        cast = narrowed.get(node.input[0]) if _casts_to(node, TensorProto.FLOAT) else None
        if cast is not None and cast.input[0].endswith("_cast_to_fp16"):
            node.op_type = "Identity"
            node.input[0] = cast.input[0]
            del node.attribute[:]
    needed = {name for node in model.graph.node for name in node.input}
    for cast in narrowed.values():
        if cast.output[0] not in needed:
            model.graph.node.remove(cast)
    del model.graph.value_info[:]


def _casts_to(node: NodeProto, element_type: int) -> bool:
    return node.op_type == "Cast" and any(item.name == "to" and item.i == element_type for item in node.attribute)
