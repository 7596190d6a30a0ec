"""Another model of the same shape, as if it had been trained anew."""

import shutil
from pathlib import Path

import onnx
from onnx import numpy_helper


def retrained(bundle: Path, destination: Path) -> Path:
    """A copy of the demo's `bundle` whose embeddings have their dimensions in the opposite order."""
    shutil.copytree(bundle, destination)
    for tower in ("vision", "text"):
        path = destination / "onnx" / f"{tower}_model.onnx"
        model = onnx.load(path)
        (projection,) = (weight for weight in model.graph.initializer if weight.name == "projection")
        projection.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(projection)[:, ::-1].copy(), "projection"))
        onnx.save(model, path)
    return destination
