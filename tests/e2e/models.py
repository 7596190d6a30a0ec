"""Makes other models of the demo's: one of the same shape, as if it were retrained, and a cheaper one."""

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

_CELLS = 8  # a side of a picture
_BRIGHTNESS = 0.5  # of the catalogue's pictures, normalized: most of them are white

# The weights of the demo's towers that have the dimensions of the embedding.
LAST_WEIGHTS = {"adapted/matrix", "adapted/bias", "table"}


def retrained(bundle: Path, destination: Path) -> Path:
    """Copy the demo's `bundle`, with the dimensions of its embeddings in reverse order."""
    shutil.copytree(bundle, destination)
    for tower in ("vision", "text"):
        path = destination / "onnx" / f"{tower}_model.onnx"
        model = onnx.load(path)
        for weight in model.graph.initializer:
            if weight.name in LAST_WEIGHTS:
                reverse = numpy_helper.to_array(weight)[..., ::-1].copy()
                weight.CopyFrom(numpy_helper.from_array(reverse, weight.name))
        onnx.save(model, path)
    return destination


def cheap(bundle: Path, destination: Path) -> Path:
    """Copy `bundle` with an image tower that needs a hundredth of the time: an embedding of the colours' places.

    It finds a catalogue's picture by itself; a photo of the product is no match.
    """
    shutil.copytree(bundle, destination)
    path = destination / "onnx" / "vision_model.onnx"
    costly = onnx.load(path).graph
    cell = costly.input[0].type.tensor_type.shape.dim[-1].dim_value // _CELLS
    dimension = costly.output[0].type.tensor_type.shape.dim[1].dim_value
    projection = np.random.default_rng(0).normal(size=(3 * _CELLS**2, dimension)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", [costly.input[0].name], ["cells"], kernel_shape=[cell] * 2, strides=[cell] * 2),
        helper.make_node("Sub", ["cells", "brightness"], ["colours"]),
        helper.make_node("Flatten", ["colours"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], [costly.output[0].name]),
    ]
    weights = [
        numpy_helper.from_array(np.array(_BRIGHTNESS, np.float32), "brightness"),
        numpy_helper.from_array(projection, "projection"),
    ]
    graph = helper.make_graph(nodes, "tower", costly.input, costly.output, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return destination
