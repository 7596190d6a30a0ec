"""Writes an adapted bundle: its files, with the map in both graphs, and the new dimension in the configuration."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from framematch.core.errors import ModelError
from framematch.model_build.adapt.discriminant import LinearMap
from framematch.model_build.adapt.fold_map import append_map
from framematch.model_build.bundles.bundle import Bundle, load_bundle
from framematch.model_build.bundles.layouts import CLIP, OPENCLIP
from framematch.model_build.files.graph_file import read_graph
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession
from framematch.vision.manifest import TEXT_MODEL
from framematch.vision.model_files import decode_json

_CONFIGS = ("config.json", "open_clip_config.json")
_KEPT = ("*.json", "*.txt", "*.model", "textual/*.json", "visual/*.json")


def write_adapted(bundle: Bundle, linear: LinearMap, names: list[str], destination: Path) -> Bundle:
    """Write `bundle` with the map into the new folder `destination`.

    Texts are mapped by the same matrix, but from another middle, because texts and pictures lie apart in such spaces:
    theirs is that of `names`, the products' names.

    Raises:
        ModelError: the folder exists already, or cannot be written.
    """
    require_new(destination)
    try:
        (destination / "onnx").mkdir(parents=True)
        for source in (path for pattern in _KEPT for path in bundle.path.glob(pattern)):
            copy = destination / source.relative_to(bundle.path)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, copy)
        layout, onnx_folder = bundle.layout, destination / "onnx"
        _write_graph(bundle.image_graph, layout.image_outputs, linear, onnx_folder / "vision_model.onnx")
        if bundle.text is not None:
            for_texts = _for_texts(bundle, linear, names)
            _write_graph(bundle.text.graph, layout.text_outputs, for_texts, onnx_folder / "text_model.onnx")
        for path in (destination / name for name in _CONFIGS):
            if path.is_file():
                settings = _with_dimension(decode_json(path, dict[str, Any]), bundle, len(linear.bias))
                path.write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    except OSError as error:
        raise ModelError(f"cannot write {destination}: {error}", hint="Name another folder, or free space") from error
    adapted = load_bundle(destination)
    fold_towers(adapted)  # an error now is better than one at the build
    return adapted


def require_new(destination: Path) -> None:
    """Check that there is no such folder yet.

    Raises:
        ModelError: there is one.
    """
    if destination.exists():
        raise ModelError(f"{destination} exists already", hint="Name a new folder with --out")


def _write_graph(graph: Path, outputs: tuple[str, ...], linear: LinearMap, destination: Path) -> None:
    tower = read_graph(graph)
    found = {value.name for value in tower.graph.output}
    output = next((name for name in outputs if name in found), None)
    if output is None:
        raise ModelError(
            f"{graph} has no output {' or '.join(outputs)}", hint="Give a bundle that `framematch model build` takes"
        )
    onnx.save(append_map(tower, output, linear), destination)


def _for_texts(bundle: Bundle, linear: LinearMap, names: list[str]) -> LinearMap:
    tower = fold_towers(bundle)[TEXT_MODEL]
    ids, mask = bundle.load_tokenizer()([name.replace("-", " ").replace("_", " ") for name in names])
    given = {"input_ids": ids, "attention_mask": mask}
    embedded = OnnxSession(tower.graph).embed({item.name: given[item.name] for item in tower.inputs})
    bias = -embedded.mean(axis=0) @ linear.matrix
    return LinearMap(linear.matrix, np.asarray(bias, np.float32))


def _with_dimension(settings: Mapping[str, Any], bundle: Bundle, dimension: int) -> dict[str, Any]:
    """The configuration with the dimension where the family has it."""
    changed = dict(settings)
    if bundle.layout is CLIP:
        return changed | {"projection_dim": dimension}
    if bundle.layout is OPENCLIP:
        inner = changed.get("model_cfg")
        return changed | ({"model_cfg": inner | {"embed_dim": dimension}} if inner else {"embed_dim": dimension})
    vision = changed.get("vision_config")
    return changed | ({"vision_config": vision | {"hidden_size": dimension}} if vision else {"hidden_size": dimension})
