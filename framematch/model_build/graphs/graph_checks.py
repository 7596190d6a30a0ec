"""Refuses graphs that could not be served, before Triton would: one clear line each."""

import math
from collections.abc import Sequence

import onnx
from onnx import ModelProto, ValueInfoProto, helper

from framematch.core.errors import ModelError
from framematch.model_build.files.graph_walk import all_nodes

EXPORT_HINT = "Export the model again with PyTorch or Optimum: fp32, opset 17, a dynamic batch, one file for each tower"

# Opset 13 made ReduceSum take its axes as an input; that form still holds in every later one.
_MIN_OPSET = 13
# What ONNX Runtime in Triton's environment (framematch/stack/triton-requirements.txt) supports; it is as old as `onnx`.
_MAX_OPSET = onnx.defs.onnx_opset_version()
_MAX_IR_VERSION = onnx.IR_VERSION
_QUANTISED = ("quant", "matmulinteger", "convinteger", "qlinear", "matmulnbits", "qgemm", "qattention")
# Shape inference needs the values of small constants (shapes, axes), and only the shapes of weights.
_SMALL_CONSTANT = 64


def require_servable(model: ModelProto) -> None:
    """Check that the graph has a supported version and is not quantised.

    Raises:
        ModelError: it is too old, too new or quantised.
    """
    opset = next((item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}), 0)
    if not _MIN_OPSET <= opset <= _MAX_OPSET:
        raise ModelError(
            f"the graph has ONNX opset {opset}; supported are {_MIN_OPSET} to {_MAX_OPSET}", hint=EXPORT_HINT
        )
    if model.ir_version > _MAX_IR_VERSION:
        raise ModelError(
            f"the graph has ONNX IR version {model.ir_version}; supported are those up to {_MAX_IR_VERSION}",
            hint=EXPORT_HINT,
        )
    operators = {node.op_type for node in all_nodes(model)}
    quantised = sorted(name for name in operators if any(part in name.lower() for part in _QUANTISED))
    if quantised:
        raise ModelError(
            f"the graph is quantised already ({', '.join(quantised)})",
            hint="Give the fp32 export: `framematch model build --precision int8` quantises it and measures the loss",
        )


def require_shape(value: ValueInfoProto, expected: Sequence[int | None]) -> None:
    """Check that each size is dynamic or the expected one; None stands for the batch, which must be dynamic.

    Raises:
        ModelError: a size differs.
    """
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim]
    if len(sizes) == len(expected) and sizes[0] is not None:
        raise ModelError(f"the graph's {value.name} has a fixed batch of {sizes[0]}", hint=EXPORT_HINT)
    fits = len(sizes) == len(expected) and all(
        size is None or size == wanted for size, wanted in zip(sizes, expected, strict=True)
    )
    if not fits:
        wanted = [size or "N" for size in expected]
        raise ModelError(
            f"the graph's {value.name} has shape {[size or 'N' for size in sizes]}, the bundle needs {wanted}",
            hint="The configuration files and the graphs must be of one model: copy them from one export",
        )


def check_graph(model: ModelProto) -> None:
    """Check the whole graph, and that its only output has the declared shape.

    Raises:
        ModelError: the graph is not valid ONNX, has a fixed batch size inside, or computes another dimension.
    """
    skeleton = skeleton_of(model)
    (declared,) = model.graph.output
    expected = [size.dim_value or None for size in declared.type.tensor_type.shape.dim]
    for size in skeleton.graph.output[0].type.tensor_type.shape.dim:
        size.Clear()
    try:
        onnx.checker.check_model(skeleton)
        inferred = onnx.shape_inference.infer_shapes(skeleton, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the graph is not valid ONNX: {str(error).splitlines()[0]}", hint=EXPORT_HINT) from error
    require_shape(inferred.graph.output[0], expected)


def skeleton_of(model: ModelProto) -> ModelProto:
    """The graph with its weights as inputs: enough for shape inference, and small even when the weights are large."""
    weights = [tensor for tensor in model.graph.initializer if math.prod(tensor.dims) > _SMALL_CONSTANT]
    named = {tensor.name for tensor in weights}
    graph = onnx.GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.input.extend(helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)) for item in weights)
    graph.output.extend(model.graph.output)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name not in named)
    return ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions, graph=graph
    )
