"""Why Triton could not load a model, from its own words, and what to do about it."""

import re
from collections.abc import Sequence

from framematch.vision.manifest import ENGINE_SCRIPT

_NO_ENGINE = (
    f"Run {ENGINE_SCRIPT} of the model repository in this Triton's container: it makes the TensorRT engine, and makes "
    "it again for another TensorRT or GPU"
)
_NO_BACKEND = (
    "Serve it with Triton's container (deploy/README.md), whose backends include {0}, or build the model again with "
    "--target cpu: the Triton of `framematch stack up` runs that alone"
)
# Pattern in Triton's message, and the hint, into which the pattern's groups go.
_KNOWN: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"unable to find backend library for backend '(\w+)'"), _NO_BACKEND),
    (re.compile(r"unable to find 'libtriton_(\w+)\.so'"), _NO_BACKEND),
    (
        re.compile(r"KIND_GPU but no GPUs are available"),
        "Give Triton a GPU (docker run --gpus all), or build the model again with --target cpu",
    ),
    (re.compile(r"model\.plan|engine plan file|deserialize.*engine", re.IGNORECASE), _NO_ENGINE),
    (
        re.compile(r"No module named '(onnxruntime|numpy)'"),
        "Triton's Python has no {0}: use the image of deploy/docker/triton.Dockerfile, or install it there",
    ),
)


def load_hint(message: str) -> str | None:
    """What to do when Triton says `message` about a model that it could not load; None when that is not known."""
    for pattern, hint in _KNOWN:
        if found := pattern.search(message):
            return hint.format(*found.groups())
    return None
