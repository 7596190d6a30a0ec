"""Builds the image tower's graph of pretrained features: EfficientNet-Lite0 (Tan and Le 2019, without its gates).

Batch normalisation is folded into the convolutions. Padding is TensorFlow's `SAME`, activations are ReLU6, and the
input is (x - 127) / 128.
"""

from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from demo.model.weights import Weights

MEAN, STD = 127 / 255, 128 / 255  # of every channel, for pixels from 0 to 1
SIDE_PX = 224
_VIEW_PX = 160  # side of both views: the whole picture, made smaller, and its middle
# Channels of the features, and the length of their part: of the head, and of earlier stages, which see details.
_POOLED = {"head": (1280, 1.0), "stage3": (80, 0.5), "stage4": (112, 0.5), "stage5": (192, 0.5), "stage6": (320, 0.5)}
FEATURES = sum(channels for channels, _ in _POOLED.values())
_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage; all others have 1
_EPSILON = 1e-3
_FIRST = {"axes": [0], "keepdims": 0}
_OPSET, _IR_VERSION = 17, 8


def image_tower(weights: Weights) -> ModelProto:
    """`pixel_values` float32 [N, 3, 224, 224], normalised, to `image_embeds` [N, 1984].

    Features are averaged over each view, and over both views: the whole picture and its middle. The head's square root
    evens out its few large features.
    """
    graph = _Graph(weights)
    maps = graph.network(_views(graph), _VIEW_PX)
    parts = []
    for name, (channels, share) in _POOLED.items():
        pooled = graph.pooled(maps[name], name, channels)
        if name == "head":
            pooled = graph.node("Sqrt", [pooled], f"{name}.even")
        parts.append(graph.scaled(pooled, name, share))
    graph.node("Concat", parts, "image_embeds", axis=1)
    return graph.model(
        helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch_size", 3, SIDE_PX, SIDE_PX]),
        helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["batch_size", FEATURES]),
    )


class _Graph:
    """Collects nodes and weights. Each method returns the name of its result."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []
        self.constant("channels", np.array([1], np.int64))

    def constant(self, name: str, value: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def network(self, x: str, side_px: int) -> dict[str, str]:
        """The results of each stage and of the head, [N, channels, side, side], by name."""
        self.constant("zero", np.zeros(1, np.float32).reshape(()))
        self.constant("six", np.full((), 6, np.float32))
        x, side = self._convolution("_conv_stem", "_bn0", x, side_px, stride=2)
        found: dict[str, str] = {}
        stage, channels = -1, 0
        for number in count():
            name = f"_blocks.{number}."
            if f"{name}_project_conv.weight" not in self._weights:
                break
            out = len(self._weights[f"{name}_project_conv.weight"])
            is_first = out != channels
            stage, channels = stage + is_first, out
            y, side = self._block(name, x, side, stride=_STRIDES[stage] if is_first else 1)
            x = y if is_first else self.node("Add", [x, y], f"{name}sum")
            found[f"stage{stage}"] = x
        return found | {"head": self._convolution("_conv_head", "_bn1", x, side)[0]}

    def pooled(self, x: str, name: str, channels: int) -> str:
        """The mean of `x` over the picture, and over both views: [N, channels]."""
        rows = self.node("Flatten", [self.node("GlobalAveragePool", [x], f"{name}.pooled")], f"{name}.rows")
        shape = self.constant(f"{name}.by_view", np.array([2, -1, channels], np.int64))
        return self.node("ReduceMean", [self.node("Reshape", [rows, shape], f"{name}.views")], f"{name}.mean", **_FIRST)

    def scaled(self, x: str, name: str, length: float) -> str:
        """Rows of `x` with this length."""
        squared = self.node("Mul", [x, x], f"{name}.squared")
        total = self.node("ReduceSum", [squared, "channels"], f"{name}.total", keepdims=1)
        unit = self.node("Div", [x, self.node("Sqrt", [total], f"{name}.length")], f"{name}.unit")
        return self.node("Mul", [unit, self.constant(f"{name}.share", np.float32(length))], f"{name}.part")

    def _block(self, name: str, x: str, side: int, stride: int) -> tuple[str, int]:
        """An inverted residual block: more channels, a convolution of each channel, fewer channels."""
        if f"{name}_expand_conv.weight" in self._weights:
            x, side = self._convolution(f"{name}_expand_conv", f"{name}_bn0", x, side)
        x, side = self._convolution(f"{name}_depthwise_conv", f"{name}_bn1", x, side, stride=stride)
        return self._convolution(f"{name}_project_conv", f"{name}_bn2", x, side, active=False)

    def _convolution(
        self, name: str, norm: str, x: str, side: int, *, stride: int = 1, active: bool = True
    ) -> tuple[str, int]:
        kernel = self._weights[f"{name}.weight"]
        scale, shift, mean, variance = (
            self._weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + _EPSILON)
        inputs = [x, self.constant(f"{name}.kernel", kernel * scale[:, None, None, None])]
        inputs.append(self.constant(f"{name}.bias", shift - mean * scale))
        smaller = -(-side // stride)
        # SAME pads as much as the last step needs, and the odd pixel at the end.
        padding = max((smaller - 1) * stride + kernel.shape[-1] - side, 0)
        before, after = padding // 2, padding - padding // 2
        group = len(kernel) if kernel.shape[1] == 1 else 1
        x = self.node("Conv", inputs, name, strides=[stride] * 2, pads=[before] * 2 + [after] * 2, group=group)
        return (self.node("Clip", [x, "zero", "six"], f"{name}.active") if active else x), smaller

    def model(self, given: onnx.ValueInfoProto, result: onnx.ValueInfoProto) -> ModelProto:
        graph = helper.make_graph(self._nodes, "tower", [given], [result], self._constants)
        opset = helper.make_opsetid("", _OPSET)
        made = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="framematch demo")
        onnx.checker.check_model(made, full_check=True)
        return made


def _views(graph: _Graph) -> str:
    """The whole pictures, made smaller, then their middles: [2 N, 3, 160, 160]."""
    first = (SIDE_PX - _VIEW_PX) // 2
    bounds = [
        graph.constant(name, np.array(value, np.int64))
        for name, value in (("first", [first] * 2), ("last", [first + _VIEW_PX] * 2), ("rows_and_columns", [2, 3]))
    ]
    middle = graph.node("Slice", ["pixel_values", *bounds], "middle")
    scales = graph.constant("scales", np.array([1, 1, _VIEW_PX / SIDE_PX, _VIEW_PX / SIDE_PX], np.float32))
    smaller = graph.node("Resize", ["pixel_values", "", scales], "smaller", mode="linear")
    return graph.node("Concat", [smaller, middle], "views", axis=0)
