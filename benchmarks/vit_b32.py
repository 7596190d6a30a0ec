"""Writes an image model with the shape of CLIP ViT-B/32 and random weights, for where only speed counts.

The image tower is that of CLIP (Radford et al. 2021, table 20): pre-norm transformer, class token, quick GELU. There is
no text tower.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from demo.dataset import BUNDLE_DIR

_WEIGHT_STD = 0.02  # as CLIP initialises its embeddings; activations stay in a range that fp32 and int8 can hold
_OPSET, _IR_VERSION = 17, 8  # 17 is the first with LayerNormalization


@dataclass(frozen=True)
class VitShape:
    """Sizes of an image tower; the defaults are those of ViT-B/32: 88 million weights, 8.8 GFLOP a picture."""

    side_px: int = 224
    patch_px: int = 32
    layers: int = 12
    width: int = 768
    heads: int = 12
    mlp: int = 3072
    projection: int = 512


def write_vit_bundle(destination: Path, shape: VitShape) -> None:
    """Write a bundle in the layout of a CLIP ONNX export without text; the weights are always the same."""
    side = {"height": shape.side_px, "width": shape.side_px}
    config = {"model_type": "clip_vision_model", "projection_dim": shape.projection, "image_size": shape.side_px}
    processor = msgspec.json.decode((BUNDLE_DIR / "preprocessor_config.json").read_bytes())
    processor |= {"crop_size": side, "size": {"shortest_edge": shape.side_px}}
    (destination / "onnx").mkdir(parents=True)
    (destination / "config.json").write_bytes(msgspec.json.encode(config))
    (destination / "preprocessor_config.json").write_bytes(msgspec.json.encode(processor))
    onnx.save(vision_model(np.random.default_rng(0), shape), destination / "onnx" / "vision_model.onnx")


def vision_model(rng: np.random.Generator, shape: VitShape) -> onnx.ModelProto:
    """`pixel_values` float32 [N, 3, side, side] to `image_embeds` [N, projection]."""
    graph, width, side = _Graph(rng), shape.width, shape.side_px
    filters = graph.weight(width, 3, shape.patch_px, shape.patch_px)
    planes = graph.node("Conv", "pixel_values", filters, strides=[shape.patch_px] * 2)
    patches = graph.transpose(graph.reshape(planes, 0, 0, -1), 0, 2, 1)
    # The class token is a row of zeros here: its vector and its position's are one sum.
    tokens = graph.node("Pad", patches, graph.constant(np.array([0, 1, 0, 0, 0, 0])))
    positions = graph.weight((side // shape.patch_px) ** 2 + 1, width)
    x = graph.norm(graph.node("Add", tokens, positions), width)
    for _ in range(shape.layers):
        x = graph.node("Add", x, _attention(graph, graph.norm(x, width), shape))
        x = graph.node("Add", x, _mlp(graph, graph.norm(x, width), shape))
    pooled = graph.norm(graph.node("Gather", x, graph.constant(np.array(0)), axis=1), width)
    graph.node("MatMul", pooled, graph.weight(width, shape.projection), output="image_embeds")
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch_size", 3, side, side])
    embeds = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["batch_size", shape.projection])
    return helper.make_model(
        helper.make_graph(graph.nodes, "vision", [pixels], [embeds], graph.weights),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="framematch benchmarks",
    )


def _attention(graph: "_Graph", x: str, shape: VitShape) -> str:
    width, head = shape.width, shape.width // shape.heads
    q, k, v = (graph.reshape(graph.linear(x, width, width), 0, 0, shape.heads, head) for _ in range(3))
    scores = graph.node("MatMul", graph.transpose(q, 0, 2, 1, 3), graph.transpose(k, 0, 2, 3, 1))
    weights = graph.node("Softmax", graph.node("Mul", scores, graph.constant(np.float32(head**-0.5))), axis=-1)
    mixed = graph.transpose(graph.node("MatMul", weights, graph.transpose(v, 0, 2, 1, 3)), 0, 2, 1, 3)
    return graph.linear(graph.reshape(mixed, 0, 0, width), width, width)


def _mlp(graph: "_Graph", x: str, shape: VitShape) -> str:
    hidden = graph.linear(x, shape.width, shape.mlp)
    gate = graph.node("Sigmoid", graph.node("Mul", hidden, graph.constant(np.float32(1.702))))  # quick GELU
    return graph.linear(graph.node("Mul", hidden, gate), shape.mlp, shape.width)


class _Graph:
    """Collects nodes and weights; each method returns the name of what it added."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = rng

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, array: NDArray[Any] | np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self._rng.standard_normal(shape, np.float32) * np.float32(_WEIGHT_STD))

    def reshape(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.constant(np.array(shape)))

    def transpose(self, x: str, *axes: int) -> str:
        return self.node("Transpose", x, perm=axes)

    def linear(self, x: str, width_in: int, width_out: int) -> str:
        return self.node("Add", self.node("MatMul", x, self.weight(width_in, width_out)), self.weight(width_out))

    def norm(self, x: str, width: int) -> str:
        scale, bias = self.constant(np.ones(width, np.float32)), self.constant(np.zeros(width, np.float32))
        return self.node("LayerNormalization", x, scale, bias, axis=-1)
