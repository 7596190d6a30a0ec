"""`framematch model build --jpeg`: a model that takes JPEGs, in front of the image tower (ADR 54).

It is an ensemble of two steps: one decodes, crops and scales in Triton's python backend, the other is the image tower
of whatever target. The first step runs the modules that clients run, from copies beside its `model.py`; with `gpu`
nvJPEG decodes, and the rest is the same.
"""

from collections.abc import Mapping
from pathlib import Path

import framematch
from framematch.model_build.repository.build_options import JpegStep
from framematch.model_build.repository.triton_config import parameter
from framematch.vision.manifest import (
    DECODE_MODEL,
    IMAGE_MODEL,
    JPEG_MODEL,
    JPEG_PARAMETER,
    MANIFEST_PARAMETER,
    ModelManifest,
    served_name,
)
from framematch.vision.preprocess import Preprocessor, Variant
from framematch.vision.region_rows import CLIENT_DECODER, JpegManifest

GPU_DECODER = "nvimagecodec-1"
"""Raise its number when `gpu_decoder.py` gives other pixels."""
SERVED_CODE = Path(__file__).with_name("decode_backend.py")
GPU_CODE = Path(__file__).with_name("gpu_decoder.py")
COPIED_MODULES = (
    "framematch",
    "framematch.core",
    "framematch.core.arrays",
    "framematch.core.errors",
    "framematch.core.frames",
    "framematch.core.ids",
    "framematch.core.timestamps",
    "framematch.core.units",
    "framematch.pictures",
    "framematch.pictures.jpeg",
    "framematch.pictures.jpeg_header",
    "framematch.pictures.jpeg_quirks",
    "framematch.pictures.rare_sampling",
    "framematch.pictures.regions",
    "framematch.vision",
    "framematch.vision.content",
    "framematch.vision.manifest",
    "framematch.vision.preprocess",
    "framematch.vision.quality",
    "framematch.vision.region_rows",
)
"""What `decode_backend.py` imports of framematch, and what that imports. A test compares it with their imports."""

_DECODING: Mapping[JpegStep, tuple[str, Variant]] = {
    "fast": (CLIENT_DECODER, "fast"),
    "exact": (CLIENT_DECODER, "exact"),
    "gpu": (GPU_DECODER, "fast"),
}
_PACKAGE = Path(framematch.__file__).parent
_INPUTS = (("jpeg", "TYPE_STRING", "1"), ("region", "TYPE_INT32", "4"), ("reduction", "TYPE_INT32", "1"))
_MEASURED = (("content", "TYPE_FP64", "1"), ("quality", "TYPE_FP64", "1"), ("problem", "TYPE_STRING", "1"))


def jpeg_files(manifest: ModelManifest, step: JpegStep, max_pixels: int) -> dict[str, bytes]:
    """The files of both models, by their path in the repository."""
    decoder, variant = _DECODING[step]
    own = JpegManifest(decoder, variant, Preprocessor(manifest.preprocess, variant).digest, max_pixels)
    decode, whole = (served_name(model, manifest.digest) for model in (DECODE_MODEL, JPEG_MODEL))
    files = {
        f"{decode}/config.pbtxt": _decode_config(decode, manifest, own).encode(),
        f"{decode}/1/model.py": SERVED_CODE.read_bytes(),
        f"{whole}/config.pbtxt": _ensemble_config(whole, decode, manifest, own).encode(),
        f"{whole}/1/README": b"An ensemble has no files of its own, but Triton needs the folder of its version.\n",
    }
    if not own.is_exact:
        files[f"{decode}/1/{GPU_CODE.name}"] = GPU_CODE.read_bytes()
    return files | {f"{decode}/1/{path}": (_PACKAGE.parent / path).read_bytes() for path in map(_path, COPIED_MODULES)}


def _path(module: str) -> str:
    """The file of a module, from the folder that the package is in."""
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (_PACKAGE.parent / path).is_dir() else f"{path}.py"


def _decode_config(name: str, manifest: ModelManifest, own: JpegManifest) -> str:
    spec = manifest.preprocess
    pixels = ("pixels", "TYPE_UINT8", f"{spec.crop_height}, {spec.crop_width}, 3")
    blocks = [
        f'name: "{name}"',
        'backend: "python"',
        f"max_batch_size: {manifest.max_batch_size}",
        f"input [\n{_tensors(_INPUTS)}\n]",
        f"output [\n{_tensors((pixels, *_MEASURED))}\n]",
        "version_policy { latest { num_versions: 1 } }",
        "# One process: it decodes a batch while the next step computes the one before.",
        f"instance_group [ {{ kind: {'KIND_CPU' if own.is_exact else 'KIND_GPU'} count: 1 }} ]",
        *_parameters(manifest, own),
    ]
    return "\n".join(blocks) + "\n"


def _ensemble_config(name: str, decode: str, manifest: ModelManifest, own: JpegManifest) -> str:
    embedding = ("embedding", "TYPE_FP32", str(manifest.dimension))
    given = [key for key, _, _ in _INPUTS]
    steps = [
        _step(decode, given, ["pixels", *(key for key, _, _ in _MEASURED)]),
        _step(served_name(IMAGE_MODEL, manifest.digest), ["pixels"], ["embedding"]),
    ]
    blocks = [
        f'name: "{name}"',
        'platform: "ensemble"',
        f"max_batch_size: {manifest.max_batch_size}",
        f"input [\n{_tensors(_INPUTS)}\n]",
        f"output [\n{_tensors((embedding, *_MEASURED))}\n]",
        "version_policy { latest { num_versions: 1 } }",
        "ensemble_scheduling {\n  step [\n" + ",\n".join(steps) + "\n  ]\n}",
        *_parameters(manifest, own),
    ]
    return "\n".join(blocks) + "\n"


def _parameters(manifest: ModelManifest, own: JpegManifest) -> list[str]:
    return [
        "# Read and checked by every client when it connects.",
        parameter(MANIFEST_PARAMETER, manifest.to_json()),
        parameter(JPEG_PARAMETER, own.to_json()),
    ]


def _tensors(tensors: tuple[tuple[str, str, str], ...]) -> str:
    return ",\n".join(f'  {{ name: "{name}" data_type: {kind} dims: [ {dims} ] }}' for name, kind, dims in tensors)


def _step(model: str, inputs: list[str], outputs: list[str]) -> str:
    maps = [f'      input_map {{ key: "{name}" value: "{name}" }}' for name in inputs]
    maps += [f'      output_map {{ key: "{name}" value: "{name}" }}' for name in outputs]
    return "\n".join(["    {", f'      model_name: "{model}"', "      model_version: -1", *maps, "    }"])
