"""Reads a bundle's graphs and folds them into the served graphs: uint8 pixels or token ids in, unit vectors out."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]  # publishes no types

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import Bundle, TextTower
from framematch.model_build.files.graph_file import TOO_LARGE_HINT, inputs_of, read_graph
from framematch.model_build.graphs.fold import INPUT_IDS, PIXELS, fold_image_tower, fold_text_tower
from framematch.model_build.graphs.token_table import token_table_rows
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL


@dataclass(frozen=True)
class ServedInput:
    """One input of a served model, in config.pbtxt's terms; `dims` is without the batch."""

    name: str
    data_type: str
    dims: Sequence[int]


@dataclass(frozen=True)
class Tower:
    """One served graph, serialised, and its inputs."""

    graph: bytes
    inputs: Sequence[ServedInput]


def fold_towers(bundle: Bundle) -> dict[str, Tower]:
    """The fp32 graphs to serve, by model name: `clip_image` and, when the bundle has a text tower, `clip_text`.

    Raises:
        ModelError: a graph is missing or broken, or does not fit the rest of the bundle.
    """
    spec = bundle.preprocess
    with _errors_name(bundle.image_graph):
        image = fold_image_tower(read_graph(bundle.image_graph), spec, bundle.dimension, bundle.layout)
        pixels = ServedInput(PIXELS, "TYPE_UINT8", (spec.crop_height, spec.crop_width, 3))
        towers = {IMAGE_MODEL: Tower(_serialised(image), [pixels])}
    del image  # each graph may have a gigabyte, so free it before the next is read
    if bundle.text is not None:
        towers[TEXT_MODEL] = _text_tower(bundle, bundle.text)
    return towers


def _text_tower(bundle: Bundle, text: TextTower) -> Tower:
    tokenizer = bundle.load_tokenizer()
    with _errors_name(text.graph):
        folded = fold_text_tower(read_graph(text.graph), text.context_length, bundle.dimension, bundle.layout)
        rows = token_table_rows(folded, INPUT_IDS)
        if rows is not None and tokenizer.highest_id >= rows:
            raise ModelError(
                f"the graph knows tokens 0 to {rows - 1}, but {text.tokenizer} gives ids up to {tokenizer.highest_id}",
                hint="Copy the tokenizer and the graph from one export",
            )
        inputs = [ServedInput(name, "TYPE_INT64", (text.context_length,)) for name in inputs_of(folded)]
        return Tower(_serialised(folded), inputs)


def digest_of(towers: Mapping[str, Tower]) -> str:
    """Sha256 (hex) over name and graph of each tower, sorted by name. Equal digests give equal embeddings."""
    digest = hashlib.sha256()
    for name in sorted(towers):
        digest.update(f"{name}\0{len(towers[name].graph)}\0".encode())
        digest.update(towers[name].graph)
    return digest.hexdigest()


@contextmanager
def _errors_name(graph: Path) -> Iterator[None]:
    """Add the file's path to errors about its graph."""
    try:
        yield
    except ModelError as error:
        if str(graph) in error.message:
            raise
        raise ModelError(f"{graph} cannot be used: {error.message}", hint=error.hint) from error


def _serialised(model: onnx.ModelProto) -> bytes:
    try:
        graph: bytes = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise ModelError(
            "the graph takes more than the 2 GB that one ONNX file can hold", hint=TOO_LARGE_HINT
        ) from error
    return graph
