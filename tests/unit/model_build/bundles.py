"""Small model bundles for the tests: each tower is one matrix, so that numpy can compute its embeddings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

DIMENSION = 4
CONTEXT_LENGTH = 6
SIDE = 8
WORDS = ("<start>", "<end>", "<pad>", "milk", "kiwi", "fresh")
START_ID, END_ID, PAD_ID = 0, 1, 2

PROCESSOR: Mapping[str, Any] = {
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.3],
    "image_processor_type": "CLIPImageProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": SIDE},
}
CONFIG: Mapping[str, Any] = {
    "model_type": "clip",
    "projection_dim": DIMENSION,
    "text_config": {"max_position_embeddings": CONTEXT_LENGTH, "pad_token_id": 77, "eos_token_id": 78},
}
# As the transformers library writes it: the nested sections leave out its defaults.
SIGLIP_PROCESSOR: Mapping[str, Any] = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "SiglipProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": SIDE, "width": SIDE},
}
SIGLIP_CONFIG: Mapping[str, Any] = {
    "model_type": "siglip",
    "text_config": {
        "hidden_size": DIMENSION,
        "max_position_embeddings": CONTEXT_LENGTH,
        "model_type": "siglip_text_model",
    },
    "vision_config": {"hidden_size": DIMENSION, "image_size": SIDE, "model_type": "siglip_vision_model"},
}
OPEN_CLIP_CONFIG: Mapping[str, Any] = {
    "model_cfg": {
        "embed_dim": DIMENSION,
        "vision_cfg": {"image_size": SIDE, "layers": 1},
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "hf_tokenizer_name": "a/tokenizer",
            "tokenizer_kwargs": {"clean": "canonicalize"},
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}
TOKENIZER_CONFIG: Mapping[str, Any] = {"pad_token": "<pad>", "eos_token": {"content": "<end>"}}


def weights(rows: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, DIMENSION)).astype(np.float32)


def image_tower(
    matrix: npt.NDArray[np.float32] | None = None,
    *,
    side: int = SIDE,
    batch: str | int = "B",
    names: tuple[str, str] = ("pixel_values", "image_embeds"),
) -> ModelProto:
    """Output = flatten(input) @ matrix, with `names` for both. An inner tensor is named `pixels`, as when folded."""
    matrix = weights(3 * side * side) if matrix is None else matrix
    nodes = [
        helper.make_node("Flatten", [names[0]], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "matrix"], [names[1]]),
    ]
    inputs = [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [batch, 3, side, side])]
    return _model(nodes, inputs, names[1], matrix, batch)


def token_tower(
    rows: int = len(WORDS),
    *,
    names: tuple[str, str] = ("input_ids", "text_embeds"),
    element_type: int = TensorProto.INT64,
) -> ModelProto:
    """Output = the sum over positions p of (p + 1) * table[id at p]: it depends on token order and padding."""
    positions = np.arange(1, CONTEXT_LENGTH + 1, dtype=np.float32).reshape(1, CONTEXT_LENGTH, 1)
    nodes = [
        helper.make_node("Gather", ["matrix", names[0]], ["looked_up"]),
        helper.make_node("Mul", ["looked_up", "positions"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axis"], [names[1]], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info(names[0], element_type, ["B", CONTEXT_LENGTH])]
    made = _model(nodes, inputs, names[1], weights(rows, seed=2), "B")
    made.graph.initializer.append(numpy_helper.from_array(positions, "positions"))
    made.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    return made


def halved(model: ModelProto) -> ModelProto:
    """The same model in fp16, like exports for GPUs."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def text_tower(*, with_mask: bool = True, element_type: int = TensorProto.INT64) -> ModelProto:
    """`text_embeds` = (input_ids * attention_mask) @ matrix."""
    names = ["input_ids", "attention_mask"] if with_mask else ["input_ids"]
    combine = helper.make_node("Mul" if with_mask else "Identity", names, ["kept"])
    nodes = [
        combine,
        helper.make_node("Cast", ["kept"], ["embedding"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["embedding", "matrix"], ["text_embeds"]),
    ]
    inputs = [helper.make_tensor_value_info(name, element_type, ["B", "L"]) for name in names]
    return _model(nodes, inputs, "text_embeds", weights(CONTEXT_LENGTH, seed=1), "B")


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    output: str,
    matrix: npt.NDArray[np.float32],
    batch: str | int,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "tower",
        inputs,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tokenizer() -> Tokenizer:
    """Words split at white space, between <start> and <end>."""
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<pad>"))
    made.pre_tokenizer = Whitespace()
    made.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:3]])
    made.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", START_ID), ("<end>", END_ID)]
    )
    return made


@dataclass
class BundleFiles:
    """A bundle's files. A test changes a part and then writes them. `others` are additional JSON files."""

    config: dict[str, Any] | None = field(default_factory=lambda: dict(CONFIG))
    processor: dict[str, Any] | None = field(default_factory=lambda: dict(PROCESSOR))
    tokenizer_config: dict[str, Any] | None = field(default_factory=lambda: dict(TOKENIZER_CONFIG))
    image: ModelProto = field(default_factory=image_tower)
    text: ModelProto | None = field(default_factory=text_tower)
    graphs: tuple[str, str] = ("onnx/vision_model.onnx", "onnx/text_model.onnx")
    others: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write all files, and return the folder."""
        folder.mkdir(parents=True)
        jsons = {
            "config.json": self.config,
            "preprocessor_config.json": self.processor,
            "tokenizer_config.json": self.tokenizer_config,
            **self.others,
        }
        for name, content in jsons.items():
            if content is not None:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(json.dumps(content))
        for name, graph in zip(self.graphs, (self.image, self.text), strict=True):
            if graph is not None:
                (folder / name).parent.mkdir(exist_ok=True)
                onnx.save(graph, folder / name)
        if self.text is not None:
            (folder / "tokenizer.json").write_text(tokenizer().to_str())
        return folder


def image_only() -> BundleFiles:
    """A bundle without a text tower."""
    return BundleFiles(
        config={"model_type": "clip_vision_model", "projection_dim": DIMENSION}, tokenizer_config=None, text=None
    )


def siglip() -> BundleFiles:
    """Like SigLIP's exports for transformers.js: pooled outputs, no attention mask."""
    return BundleFiles(
        config=dict(SIGLIP_CONFIG),
        processor=dict(SIGLIP_PROCESSOR),
        image=image_tower(names=("pixel_values", "pooler_output")),
        text=token_tower(names=("input_ids", "pooler_output")),
    )


def open_clip() -> BundleFiles:
    """Like exports of OpenCLIP's models: its own configuration, a config.json with little in it, int32 ids."""
    return BundleFiles(
        config={"model_type": "siglip"},
        processor=None,
        image=image_tower(names=("image", "embedding")),
        text=token_tower(names=("text", "embedding"), element_type=TensorProto.INT32),
        others={"open_clip_config.json": json.loads(json.dumps(OPEN_CLIP_CONFIG))},
    )
