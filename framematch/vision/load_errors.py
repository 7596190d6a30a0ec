"""Hints for the messages of a Triton that could not load a model."""

import re
from collections.abc import Sequence

from framematch.vision.manifest import ENGINE_SCRIPT

_NO_ENGINE = (
    f"Run {ENGINE_SCRIPT} of the model repository in this Triton's container. It builds the TensorRT engine, also for "
    "another version of TensorRT or another GPU"
)
_NO_BACKEND = (
    "Serve it with Triton's container (deploy/README.md), whose backends include {0}, or build the model again with "
    "--target cpu, which needs the python backend alone"
)
# A pattern for Triton's message, and the hint, which is formatted with the pattern's groups.
_KNOWN: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"unable to find backend library for backend '(\w+)'"), _NO_BACKEND),
    (re.compile(r"unable to find 'libtriton_(\w+)\.so'"), _NO_BACKEND),
    (
        re.compile(r"KIND_GPU but no GPUs are available"),
        "Give Triton a GPU (docker run --gpus all), or build the model again with --target cpu",
    ),
    (re.compile(r"model\.plan|engine plan file|deserialize.*engine", re.IGNORECASE), _NO_ENGINE),
    (
        re.compile(r"No module named '(onnxruntime|numpy|cv2|simplejpeg|PIL|msgspec)'"),
        "Triton's Python has no {0}: use the image of deploy/docker/triton.Dockerfile, or install it there",
    ),
    (
        re.compile(r"No module named '(nvidia|cupy)"),
        "Install nvidia-nvimgcodec and cupy in Triton's Python (docs/models.md), or build the model with --jpeg fast",
    ),
)


def load_hint(message: str) -> str | None:
    """What to do about `message`, Triton's reason for not loading a model; None when the reason is not known here."""
    for pattern, hint in _KNOWN:
        if found := pattern.search(message):
            return hint.format(*found.groups())
    return None
