"""Makes a different model of the same shape, as if it were retrained."""

import shutil
from pathlib import Path

import onnx
from onnx import numpy_helper


def retrained(bundle: Path, destination: Path) -> Path:
    """Copy the demo's `bundle`, with the dimensions of its embeddings in reverse order."""
    shutil.copytree(bundle, destination)
    for tower in ("vision", "text"):
        path = destination / "onnx" / f"{tower}_model.onnx"
        model = onnx.load(path)
        (projection,) = (weight for weight in model.graph.initializer if weight.name == "projection")
        projection.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(projection)[:, ::-1].copy(), "projection"))
        onnx.save(model, path)
    return destination
