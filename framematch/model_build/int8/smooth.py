"""SmoothQuant: evens out the activations of a transformer before int8 (Xiao et al. 2022, section 4).

All channels of a tensor have one scale, so a few large channels cost the others their precision. Where a layer
normalisation feeds only products with constant matrices, its scale and shift are divided by s and the matrices' rows
multiplied by s. The result is the same, and both sides are easier to quantise.

In a ViT of random weights with 4 channels of each normalisation 12 times as large, the mean cosine of int8 to fp32 was
0.957 without this, 0.9929 with a share of 0.5, 0.9931 with 0.7 and 0.9896 with 0.85; without such channels 0.9970,
0.9973, 0.9974 and 0.9974.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from framematch.model_build.int8.nodes import constant_products

# The share of the unevenness that moves from the activations into the matrices (the paper's alpha).
_SHARE = 0.7
# Avoids a division by zero: a channel that is always zero may have any scale.
_EPSILON = 1e-5
_VECTOR_RANK = 1


@dataclass(frozen=True)
class SmoothPoint:
    """A tensor that can be evened out: `vectors` (scale and shift) produce it, `matrices` multiply it."""

    tensor: str
    vectors: Sequence[str]
    matrices: Sequence[str]


def smooth_points(model: ModelProto) -> list[SmoothPoint]:
    """Every tensor that a layer normalisation produces and that only constant matrices multiply."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    uses = _uses(model)
    points = []
    for tensor, products in constant_products(model).items():
        vectors = list(_affine_vectors(tensor, producers, constants, uses))
        matrices = [node.input[1] for node in products]
        unshared = all(name in constants and uses[name] == 1 for name in (*vectors, *matrices))
        if vectors and unshared and all(len(constants[name].dims) == _VECTOR_RANK for name in vectors):
            points.append(SmoothPoint(tensor, vectors, matrices))
    return points


def smooth(model: ModelProto, largest: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Even out `model` in place. Its results change only by rounding.

    `largest` has, for each tensor of `smooth_points`, the largest absolute value of each channel, float32 [channels].
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for point in smooth_points(model):
        matrices = [numpy_helper.to_array(constants[name]) for name in point.matrices]
        rows = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
        activations = np.maximum(largest[point.tensor], _EPSILON)
        scale = (activations**_SHARE / np.maximum(rows, _EPSILON) ** (1 - _SHARE)).astype(np.float32)
        for name in point.vectors:
            _set(constants[name], numpy_helper.to_array(constants[name]) / scale)
        for name, matrix in zip(point.matrices, matrices, strict=True):
            _set(constants[name], matrix * scale[:, None])


def _affine_vectors(
    tensor: str, producers: Mapping[str, NodeProto], constants: Mapping[str, TensorProto], uses: Mapping[str, int]
) -> Iterator[str]:
    """Names of the scale and the shift that produce `tensor`: inputs of one node, or of a Mul and an Add."""
    producer = producers.get(tensor)
    if producer is None:
        return
    if producer.op_type == "LayerNormalization":
        yield from filter(None, producer.input[1:])
    elif producer.op_type == "Add" and (shift := _split(producer, constants)):
        inner, name = shift
        multiply = producers.get(inner)
        if multiply and multiply.op_type == "Mul" and uses[inner] == 1 and (scale := _split(multiply, constants)):
            yield from (scale[1], name)


def _split(node: NodeProto, constants: Mapping[str, TensorProto]) -> tuple[str, str] | None:
    """The computed and the constant side of a sum or a product with a vector."""
    for computed, constant in (node.input, reversed(node.input)):
        if constant in constants and computed not in constants and len(constants[constant].dims) == _VECTOR_RANK:
            return computed, constant
    return None


def _uses(model: ModelProto) -> dict[str, int]:
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for tensor in node.input:
            uses[tensor] = uses.get(tensor, 0) + 1
    return uses


def _set(tensor: TensorProto, value: npt.NDArray[np.float32]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
