"""Small model bundles for the tests: towers of one matrix each, whose embeddings numpy can compute."""

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
TOKENIZER_CONFIG: Mapping[str, Any] = {"pad_token": "<pad>", "eos_token": {"content": "<end>"}}


def weights(rows: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, DIMENSION)).astype(np.float32)


def image_tower(
    matrix: npt.NDArray[np.float32] | None = None, *, side: int = SIDE, batch: str | int = "B"
) -> ModelProto:
    """`image_embeds` = flatten(pixel_values) @ matrix. An inner tensor is called `pixels`, as the folded input is."""
    matrix = weights(3 * side * side) if matrix is None else matrix
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "matrix"], ["image_embeds"]),
    ]
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [batch, 3, side, side])]
    return _model(nodes, inputs, "image_embeds", matrix, batch)


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
    """What a bundle's folder holds; a test changes a part, then writes it."""

    config: dict[str, Any] = field(default_factory=lambda: dict(CONFIG))
    processor: dict[str, Any] = field(default_factory=lambda: dict(PROCESSOR))
    tokenizer_config: dict[str, Any] | None = field(default_factory=lambda: dict(TOKENIZER_CONFIG))
    image: ModelProto = field(default_factory=image_tower)
    text: ModelProto | None = field(default_factory=text_tower)

    def write(self, folder: Path) -> Path:
        """Write all files; the folder itself."""
        (folder / "onnx").mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        (folder / "preprocessor_config.json").write_text(json.dumps(self.processor))
        onnx.save(self.image, folder / "onnx" / "vision_model.onnx")
        if self.tokenizer_config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(self.tokenizer_config))
        if self.text is not None:
            (folder / "tokenizer.json").write_text(tokenizer().to_str())
            onnx.save(self.text, folder / "onnx" / "text_model.onnx")
        return folder


def image_only() -> BundleFiles:
    """A bundle that says that it has no text tower."""
    return BundleFiles(
        config={"model_type": "clip_vision_model", "projection_dim": DIMENSION}, tokenizer_config=None, text=None
    )
