"""Writes trained towers as a model bundle, in the layout of a CLIP ONNX export."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from demo.model import network
from demo.model.texts import CONTEXT_LENGTH, END, START

_OPSET, _IR_VERSION = 17, 8


class _Graph:
    """Collects nodes and weights. Each method returns the name of its result."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: Any) -> str:
        array = np.asarray(value)
        kept = array if array.dtype == np.int64 else array.astype(np.float32)
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def model(self, inputs: list[onnx.ValueInfoProto], output: str, dimension: int) -> onnx.ModelProto:
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch_size", dimension])]
        made = helper.make_model(
            helper.make_graph(self._nodes, output, inputs, outputs, self._weights),
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="framematch demo",
        )
        onnx.checker.check_model(made, full_check=True)
        return made


def vision_model(params: Any, stats: Any, side_px: int) -> onnx.ModelProto:
    """`pixel_values` float32 [N, 3, side, side], normalised, to `image_embeds` [N, D], with folded batch norms."""
    graph = _Graph()

    def convolution(name: str, unit: Any, measured: Any, x: str, stride: int) -> str:
        scale = unit["scale"] / np.sqrt(measured["variance"] + network.EPSILON)
        kernel = (unit["kernel"] * scale).transpose(3, 2, 0, 1)  # HWIO to OIHW
        pad = kernel.shape[-1] // 2
        weights = [graph.weight(f"{name}_kernel", kernel)]
        weights.append(graph.weight(f"{name}_bias", unit["shift"] - measured["mean"] * scale))
        return graph.node("Conv", [x, *weights], name, strides=[stride] * 2, pads=[pad] * 4)

    x = _variants(graph, side_px)
    x = convolution("stem", params["stem"], stats["stem"], x, network.STEM_STRIDE)
    x = graph.node("Relu", [x], "stem_active")
    for block, _, _, stride in network.block_names():
        unit, measured = params[block], stats[block]
        y = convolution(f"{block}_first", unit["first"], measured["first"], x, stride)
        y = graph.node("Relu", [y], f"{block}_first_active")
        y = convolution(f"{block}_second", unit["second"], measured["second"], y, 1)
        if "shortcut" in unit:
            x = convolution(f"{block}_shortcut", unit["shortcut"], measured["shortcut"], x, stride)
        x = graph.node("Relu", [graph.node("Add", [x, y], f"{block}_sum")], f"{block}_active")
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x], "pooled")], "pooled_row")
    shape = graph.weight("by_variant", np.array([network.VARIANTS, -1, network.WIDTHS[-1]], np.int64))
    x = graph.node("Reshape", [x, shape], "variants_pooled")
    x = graph.node("ReduceMean", [x], "mean_variant", axes=[0], keepdims=0)
    x = graph.node("MatMul", [x, graph.weight("projection", params["projection"])], "projected")
    graph.node("Add", [x, graph.weight("projection_bias", params["bias"])], "image_embeds")
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch_size", 3, side_px, side_px])
    return graph.model([pixels], "image_embeds", params["projection"].shape[1])


def _variants(graph: _Graph, side_px: int) -> str:
    """The pictures, their mirror images and their enlarged middles: [3 N, 3, side, side]."""
    columns = graph.weight("columns", np.array([3], np.int64))
    backwards = [
        graph.weight(name, np.array([value], np.int64)) for name, value in (("end", -1), ("start", -side_px - 1))
    ]
    mirror = graph.node("Slice", ["pixel_values", *backwards, columns, backwards[0]], "mirror_image")
    first, last = network.middle(side_px)
    bounds = [
        graph.weight(name, np.array(value, np.int64))
        for name, value in (("first", [first] * 2), ("last", [last] * 2), ("rows_and_columns", [2, 3]))
    ]
    crop = graph.node("Slice", ["pixel_values", *bounds], "middle")
    scale = side_px / (last - first)
    enlarged = graph.node("Resize", [crop, "", graph.weight("scales", [1, 1, scale, scale])], "enlarged", mode="linear")
    return graph.node("Concat", ["pixel_values", mirror, enlarged], "variants", axis=0)


def text_model(params: Any) -> onnx.ModelProto:
    """`input_ids` and `attention_mask` int64 [N, L] to `text_embeds` [N, D]."""
    graph = _Graph()
    words = graph.node("Gather", [graph.weight("table", params["table"]), "input_ids"], "words")
    scores = graph.node("MatMul", [words, graph.weight("query", params["query"])], "scores_column")
    scores = graph.node("Squeeze", [scores, graph.weight("last", np.array([-1], np.int64))], "scores")
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    padding = graph.node("Sub", [mask, graph.weight("one", 1.0)], "padding")
    padding = graph.node("Mul", [padding, graph.weight("far", 1e4)], "padding_score")
    share = graph.node("Softmax", [graph.node("Add", [scores, padding], "masked")], "share", axis=-1)
    row = graph.node("Unsqueeze", [share, graph.weight("row", np.array([1], np.int64))], "share_row")
    pooled = graph.node("MatMul", [row, words], "pooled_row")
    pooled = graph.node("Squeeze", [pooled, "row"], "pooled")
    hidden = graph.node("MatMul", [pooled, graph.weight("hidden", params["hidden"])], "hidden_sum")
    hidden = graph.node("Add", [hidden, graph.weight("bias", params["bias"])], "hidden_biased")
    hidden = graph.node("Relu", [hidden], "hidden_active")
    graph.node("MatMul", [hidden, graph.weight("projection", params["projection"])], "text_embeds")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch_size", "sequence_length"])
        for name in ("input_ids", "attention_mask")
    ]
    return graph.model(inputs, "text_embeds", params["projection"].shape[1])


def write_bundle(destination: Path, towers: tuple[Any, Any, Any], tokenizer: Tokenizer, *, side_px: int) -> Path:
    """Write the bundle of `towers`: image parameters, image statistics and text parameters, as NumPy arrays."""
    image, stats, text = towers
    (destination / "onnx").mkdir(parents=True, exist_ok=True)
    onnx.save(vision_model(image, stats, side_px), destination / "onnx" / "vision_model.onnx")
    onnx.save(text_model(text), destination / "onnx" / "text_model.onnx")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(destination / "tokenizer.json"))
    _write_json(destination / "preprocessor_config.json", _preprocessor_config(side_px))
    _write_json(destination / "config.json", _config(tokenizer, side_px, image["projection"].shape[1]))
    return destination


def _preprocessor_config(side_px: int) -> dict[str, Any]:
    return {
        "crop_size": {"height": side_px, "width": side_px},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [network.MEAN] * 3,
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [network.STD] * 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": side_px},
    }


def _config(tokenizer: Tokenizer, side_px: int, dimension: int) -> dict[str, Any]:
    """The keys of CLIP's config.json that apply to these towers."""
    return {
        "model_type": "clip",
        "projection_dim": dimension,
        "text_config": {
            "bos_token_id": tokenizer.token_to_id(START),
            "eos_token_id": tokenizer.token_to_id(END),
            "max_position_embeddings": CONTEXT_LENGTH,
            "model_type": "clip_text_model",
            "pad_token_id": tokenizer.token_to_id(END),
            "projection_dim": dimension,
            "vocab_size": tokenizer.get_vocab_size(),
        },
        "vision_config": {
            "image_size": side_px,
            "model_type": "clip_vision_model",
            "num_channels": 3,
            "projection_dim": dimension,
        },
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
