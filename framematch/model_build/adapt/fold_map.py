"""Appends a linear map to a tower's graph: its output becomes of unit length, then is mapped."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from framematch.model_build.adapt.discriminant import LinearMap
from framematch.model_build.graphs.fold import widen_to_fp32

_PREFIX = "adapted/"


def append_map(tower: ModelProto, output: str, linear: LinearMap) -> ModelProto:
    """`tower` in fp32 with one output named `output`, [N, D] instead of [N, F]. `tower` itself is changed.

    Only operators are added that a fold adds too (Cast, Mul, ReduceSum, Sqrt, Div), and one MatMul with one Add.
    """
    widen_to_fp32(tower)
    # A map that was appended before has names with the prefix already.
    prefix = _PREFIX
    while any(name.startswith(prefix) for node in tower.graph.node for name in node.output):
        prefix = f"again/{prefix}"
    raw = f"{prefix}raw"
    for found in tower.graph.node:
        found.input[:] = [raw if name == output else name for name in found.input]
        found.output[:] = [raw if name == output else name for name in found.output]

    def node(operator: str, *inputs: str, result: str) -> onnx.NodeProto:
        return helper.make_node(operator, [item if item == raw else f"{prefix}{item}" for item in inputs], [result])

    constants: dict[str, npt.NDArray[Any]] = {
        "last_axis": np.array([1], np.int64),
        "matrix": linear.matrix,
        "bias": linear.bias,
    }
    for name, value in constants.items():
        tower.graph.initializer.append(numpy_helper.from_array(value, f"{prefix}{name}"))
    tower.graph.node.extend(
        [
            node("Mul", raw, raw, result=f"{prefix}squared"),
            node("ReduceSum", "squared", "last_axis", result=f"{prefix}sum"),
            node("Sqrt", "sum", result=f"{prefix}length"),
            node("Div", raw, "length", result=f"{prefix}unit"),
            node("MatMul", "unit", "matrix", result=f"{prefix}mapped"),
            node("Add", "mapped", "bias", result=output),
        ]
    )
    del tower.graph.output[:], tower.graph.value_info[:]
    tower.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", len(linear.bias)]))
    return tower
