"""Writes towers as a model bundle, in the layout of a CLIP ONNX export. Weights take half precision on disk."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from tokenizers import Tokenizer

from demo.model.efficientnet import MEAN, SIDE_PX, STD
from demo.model.text_tower import CONTEXT_LENGTH, END, START
from framematch.vision.manifest import PreprocessSpec

PREPROCESS = PreprocessSpec(
    resize_shortest_edge=SIDE_PX,
    crop_height=SIDE_PX,
    crop_width=SIDE_PX,
    resample="bilinear",  # the fast variant, which the map is fitted to, comes closest to it
    rescale_factor=1 / 255,
    mean=(MEAN,) * 3,
    std=(STD,) * 3,
)

_FP32_INPUTS = {"Resize": 2}  # the input that ONNX defines as float32, by operator


def write_bundle(folder: Path, image: ModelProto, text: ModelProto, tokenizer: Tokenizer) -> Path:
    """Write the bundle of both towers, which are changed to half precision."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    onnx.save(to_half(image), folder / "onnx" / "vision_model.onnx")
    onnx.save(to_half(text), folder / "onnx" / "text_model.onnx")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    dimension = text.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    _write_json(folder / "preprocessor_config.json", _preprocessor_config())
    _write_json(folder / "config.json", _config(tokenizer, dimension))
    return folder


def to_half(model: ModelProto) -> ModelProto:
    """`model` with float16 in place of float32, in place."""
    kept = {node.input[_FP32_INPUTS[node.op_type]] for node in model.graph.node if node.op_type in _FP32_INPUTS}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.checker.check_model(model, full_check=True)
    return model


def _preprocessor_config() -> dict[str, Any]:
    """`PREPROCESS` in the transformers library's format."""
    return {
        "crop_size": {"height": PREPROCESS.crop_height, "width": PREPROCESS.crop_width},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": PREPROCESS.mean,
        "image_processor_type": "CLIPImageProcessor",
        "image_std": PREPROCESS.std,
        "resample": 2,
        "rescale_factor": PREPROCESS.rescale_factor,
        "size": {"shortest_edge": PREPROCESS.resize_shortest_edge},
    }


def _config(tokenizer: Tokenizer, dimension: int) -> dict[str, Any]:
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
            "image_size": SIDE_PX,
            "model_type": "clip_vision_model",
            "num_channels": 3,
            "projection_dim": dimension,
        },
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
