"""Small image towers with random weights: a CNN and a block of a transformer."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from framematch.core.arrays import Pixels
from framematch.model_build.graphs.fold import fold_image_tower
from framematch.vision.manifest import PreprocessSpec

SIDE = 16
DIMENSION = 16
WIDTH = 8
SPEC = PreprocessSpec(SIDE, SIDE, SIDE, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def colourful_pictures(count: int, seed: int = 0) -> Pixels:
    """[count, SIDE, SIDE, 3]: four patches of random colours each, with a little noise."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (count, 2, 2, 3)).repeat(SIDE // 2, axis=1).repeat(SIDE // 2, axis=2)
    noise = rng.integers(-10, 11, (count, SIDE, SIDE, 3))
    return np.asarray(np.clip(patches + noise, 0, 255), np.uint8)


def convnet(seed: int = 0) -> bytes:
    """Folded: a stem, a residual block of two convolutions, pooling, a projection."""
    graph = _Graph(seed)
    stem = graph.node("Relu", graph.convolution("pixel_values", 3, WIDTH, 3, 2))
    inner = graph.node("Relu", graph.convolution(stem, WIDTH, WIDTH, 3, 1))
    joined = graph.node("Add", graph.convolution(inner, WIDTH, WIDTH, 3, 1), stem)
    last = graph.convolution(graph.node("Relu", joined), WIDTH, 2 * WIDTH, 3, 2)
    pooled = graph.node("Flatten", graph.node("AveragePool", last, kernel_shape=[2, 2], strides=[2, 2]))
    graph.node("MatMul", pooled, graph.weight(2 * WIDTH * 4, DIMENSION), output="image_embeds")
    return graph.folded()


def transformer(*, decomposed: bool, uneven: float = 1.0, seed: int = 0) -> bytes:
    """Folded: patches, a normalisation, two products of it and of each other, a projection.

    `uneven` makes a channel of the normalisation so many times larger. `decomposed` writes the normalisation as exports
    of an opset below 17 do.
    """
    graph = _Graph(seed)
    planes = graph.node("Conv", "pixel_values", graph.weight(WIDTH, 3, 4, 4), strides=[4, 4])
    rows = graph.node("Reshape", planes, graph.integers(0, WIDTH, -1))
    scale = np.ones(WIDTH, np.float32)
    scale[3] = uneven
    tokens = graph.node("Transpose", rows, perm=[0, 2, 1])
    normed = graph.norm(tokens, scale, decomposed=decomposed)
    left = graph.node("MatMul", normed, graph.weight(WIDTH, WIDTH))
    right = graph.node("MatMul", normed, graph.weight(WIDTH, WIDTH))
    product = graph.node("MatMul", left, graph.node("Transpose", right, perm=[0, 2, 1]))
    shares = graph.node("Softmax", product, axis=-1)
    mixed = graph.node("Flatten", graph.node("MatMul", shares, tokens))
    graph.node("MatMul", mixed, graph.weight(WIDTH * (SIDE // 4) ** 2, DIMENSION), output="image_embeds")
    return graph.folded()


class _Graph:
    """Collects nodes without names and weights; each method returns the name of its result."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: npt.NDArray[Any]) -> str:
        name = f"w{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int) -> str:
        fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        return self.constant((self._rng.standard_normal(shape) * (2 / fan_in) ** 0.5).astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def convolution(self, x: str, channels_in: int, channels_out: int, size: int, stride: int) -> str:
        weight = self.weight(channels_out, channels_in, size, size)
        bias = self.constant(self._rng.normal(0, 0.1, channels_out).astype(np.float32))
        return self.node("Conv", x, weight, bias, strides=[stride] * 2, pads=[size // 2] * 4)

    def norm(self, x: str, scale: npt.NDArray[np.float32], *, decomposed: bool) -> str:
        gain, shift = self.constant(scale), self.constant(np.full_like(scale, 0.1))
        if not decomposed:
            return self.node("LayerNormalization", x, gain, shift, axis=-1)
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Mul", centred, centred), axes=[-1])
        deviation = self.node("Sqrt", self.node("Add", variance, self.constant(np.array(1e-5, np.float32))))
        return self.node("Add", self.node("Mul", self.node("Div", centred, deviation), gain), shift)

    def folded(self) -> bytes:
        pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["B", 3, SIDE, SIDE])
        embeds = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["B", DIMENSION])
        graph = helper.make_graph(self._nodes, "tower", [pixels], [embeds], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        folded: bytes = fold_image_tower(model, SPEC, DIMENSION).SerializeToString(deterministic=True)
        return folded
