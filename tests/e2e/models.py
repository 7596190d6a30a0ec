"""Makes a different model of the same shape, as if it were retrained."""

import shutil
from pathlib import Path

import onnx
from onnx import numpy_helper

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
