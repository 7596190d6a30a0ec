"""fp16: a tower's graph in half precision, for GPUs.

The graph itself is converted, instead of asking TensorRT for it: TensorRT 11 takes precisions from nowhere else, ONNX
Runtime runs the same graph, and what half precision costs can be measured without a GPU.
"""

from collections.abc import Iterator

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnxruntime.transformers import float16
from onnxruntime.transformers.onnx_model import OnnxModel

from framematch.model_build.graphs.towers import Tower

# How names of the export's own values begin in a folded graph. What the fold puts around the tower stays fp32: a
# pixel's value and an embedding's squared length need more than half precision has.
_EXPORT = "tower/"
# Older exports spell a layer norm out, and the square in it can pass 65504, the largest number of fp16.
_AFTER_A_SQUARE = frozenset({"ReduceMean", "Add", "Sqrt", "Div"})

# Constants of up to this size may be shapes, which the inference needs; weights are larger.
_SMALL_BYTES = 1024


def half_precision(tower: Tower) -> Tower:
    """`tower` with weights and activations in fp16; its inputs and its output keep their types."""
    model = onnx.load_from_string(tower.graph)
    for index, node in enumerate(model.graph.node):
        node.name = f"{index}:{node.name}"  # the converter goes by names, which ONNX does not ask for
    _write_down_types(model)
    kept = [*_around_the_tower(model), *_variances(model)]
    converted: ModelProto = float16.convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, node_block_list=kept
    )
    _stay_wide(converted)
    OnnxModel.graph_topological_sort(converted.graph, is_deterministic=True)
    graph: bytes = converted.SerializeToString(deterministic=True)
    return Tower(graph, tower.inputs)


def _write_down_types(model: ModelProto) -> None:
    """What the converter must know of inner values. The weights stay out of the inference, which copies all it gets."""
    graph = model.graph
    large = [item for item in graph.initializer if len(item.raw_data) > _SMALL_BYTES]
    small = [item for item in graph.initializer if len(item.raw_data) <= _SMALL_BYTES]
    weights = [helper.make_tensor_value_info(item.name, item.data_type, item.dims) for item in large]
    skeleton = helper.make_graph(graph.node, graph.name, [*graph.input, *weights], graph.output, small)
    inferred = onnx.shape_inference.infer_shapes(helper.make_model(skeleton, opset_imports=model.opset_import))
    del graph.value_info[:]
    graph.value_info.extend(inferred.graph.value_info)


def _around_the_tower(model: ModelProto) -> Iterator[str]:
    for node in model.graph.node:
        if not all(name.startswith(_EXPORT) for name in (*node.input, *node.output) if name):
            yield node.name


def _variances(model: ModelProto) -> Iterator[str]:
    """Squares, and what follows them up to the division by the deviation. Nodes of an ONNX graph are in order."""
    wide: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Pow" or (node.op_type in _AFTER_A_SQUARE and wide.intersection(node.input)):
            yield node.name
            if node.op_type != "Div":
                wide.update(node.output)


def _stay_wide(model: ModelProto) -> None:
    """Let values go from one fp32 node to the next as they are: the converter squeezes each through fp16 on its way."""
    narrowed = {node.output[0]: node for node in model.graph.node if _casts_to(node, TensorProto.FLOAT16)}
    for node in model.graph.node:
        # By this ending the converter marks what an fp32 node gives; other casts to fp16 may come from integers.
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
