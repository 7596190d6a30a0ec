"""Converts an fp16 ONNX graph to fp32, which CPUs compute faster. Every served graph is made from fp32."""

from onnx import ModelProto, TensorProto, numpy_helper

from framematch.model_build.files.graph_walk import all_graphs, all_nodes, all_tensors

# Attributes with the type of an operator's result.
_TYPE_ATTRIBUTES = {"to", "dtype", "output_dtype", "stash_type", "softmax_precision"}


def widen_to_fp32(model: ModelProto) -> None:
    """Convert every float16 of `model` to float32, in place: weights, constants, casts and declared types."""
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
