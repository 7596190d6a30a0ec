"""Reads a bundle's graphs and folds them into what is served: uint8 pixels or token ids in, unit vectors out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # publishes no types

from framematch.core.errors import ModelError
from framematch.vision.bundle import Bundle
from framematch.vision.fold import fold_image_tower, fold_text_tower, input_names
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL
from framematch.vision.processor_config import COPY_AGAIN_HINT
from framematch.vision.triton_config import ServedInput


@dataclass(frozen=True)
class Tower:
    """One served graph, serialised, and what config.pbtxt says about its inputs."""

    graph: bytes
    inputs: Sequence[ServedInput]


def fold_towers(bundle: Bundle) -> dict[str, Tower]:
    """The fp32 graphs to serve, by model name: `clip_image` and, when the bundle has a text tower, `clip_text`.

    Raises:
        ModelError: a graph is missing, broken or does not fit the rest of the bundle.
    """
    spec = bundle.preprocess
    image = fold_image_tower(_read_graph(bundle.image_graph), spec, bundle.dimension)
    pixels = ServedInput("pixels", "TYPE_UINT8", (spec.crop_height, spec.crop_width, 3))
    towers = {IMAGE_MODEL: Tower(_serialised(image), [pixels])}
    if bundle.text is not None:
        length = bundle.text.context_length
        text = fold_text_tower(_read_graph(bundle.text.graph), length, bundle.dimension)
        inputs = [ServedInput(name, "TYPE_INT64", (length,)) for name in input_names(text)]
        towers[TEXT_MODEL] = Tower(_serialised(text), inputs)
    return towers


def _read_graph(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path} is not a readable ONNX graph: {error}", hint=COPY_AGAIN_HINT) from error


def _serialised(model: onnx.ModelProto) -> bytes:
    try:
        graph: bytes = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise ModelError(
            "a graph is larger than 2 GB, which one ONNX file cannot hold", hint="Use a smaller CLIP model"
        ) from error
    return graph
