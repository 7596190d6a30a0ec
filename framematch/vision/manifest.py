"""The manifest of a served model: its name, preprocessing, dimension, … It is part of Triton's model configuration."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from framematch.core.errors import ModelError

Target = Literal["cpu", "onnx", "tensorrt"]
Precision = Literal["fp32", "fp16", "int8"]
Resample = Literal["bilinear", "bicubic"]
Rgb = tuple[float, float, float]

# The two towers of a model. Triton serves each under its `served_name`.
IMAGE_MODEL = "clip_image"
TEXT_MODEL = "clip_text"
# What a build adds with `--jpeg`: JPEGs in, embeddings out; and the first of its two steps, before the image tower.
JPEG_MODEL = "clip_jpeg"
DECODE_MODEL = "clip_decode"
# Parameters of a served model's configuration.
MANIFEST_PARAMETER = "framematch_manifest"
BUILT_AT_PARAMETER = "framematch_built_at"
JPEG_PARAMETER = "framematch_jpeg"
TOKENIZER_PARAMETER = "framematch_tokenizer"
TOKENIZER_SETTINGS_PARAMETER = "framematch_tokenizer_settings"
# Makes the TensorRT engines; it is in the model repository, beside the models.
ENGINE_SCRIPT = "build-engines.sh"
# 2 added the target and precisions below fp32.
FORMAT_VERSION = 2
DIGEST_IN_NAME = 12
"""How many hex digits of a model's digest are in the names that Triton serves it under."""


@dataclass(frozen=True)
class PreprocessSpec:
    """Resizing, cropping and normalising of an RGB picture.

    The shortest edge is resized to `resize_shortest_edge` pixels, and the centre is cropped to `crop_height` x
    `crop_width`. When `resize_shortest_edge` is None, the whole picture is resized to the crop's size and its
    proportions are lost, as SigLIP does. Then, for each channel: (value * rescale_factor - mean) / std.
    """

    resize_shortest_edge: int | None
    crop_height: int
    crop_width: int
    resample: Resample
    rescale_factor: float
    mean: Rgb
    std: Rgb


@dataclass(frozen=True)
class ModelManifest:
    """One embedding space. Both towers of one build carry the same manifest.

    `digest` is the sha256 (hex) of the graphs: models with equal digests give comparable embeddings. A model in fp16
    has the digest of the fp32 graphs, because half precision changes an embedding too little to matter in a search. An
    int8 model has a digest of its own. `context_length` and `tokenizer_digest` (sha256 of tokenizer.json) are None
    when there is no text tower.
    """

    name: str
    digest: str
    dimension: int
    preprocess: PreprocessSpec
    context_length: int | None
    tokenizer_digest: str | None
    max_batch_size: int
    precision: Precision = "fp32"
    target: Target = "cpu"
    format_version: int = FORMAT_VERSION

    def same_space(self, other: "ModelManifest") -> bool:
        """Whether embeddings of both are comparable. Name, batch size, target, and fp32 or fp16 do not matter."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("digest", "dimension", "preprocess", "tokenizer_digest")
        )

    def to_json(self) -> str:
        """One line of JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "ModelManifest":
        """Parse `text`.

        Raises:
            ModelError: it is not a manifest, or its format is of another version.
        """
        try:
            version = msgspec.json.decode(text, type=_Versioned).format_version
            if version != FORMAT_VERSION:
                other = "an older version" if version < FORMAT_VERSION else "a newer version"
                raise ModelError(
                    f"the served model was built by {other} of framematch: its manifest has format "
                    f"{version}, this version reads {FORMAT_VERSION}",
                    hint="Build the model repository again with `framematch model build` of this version",
                )
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ModelError(
                f"the served model's manifest is not readable: {error}",
                hint="Build the model repository again with `framematch model build`",
            ) from error


@dataclass(frozen=True)
class _Versioned:
    format_version: int


def jpeg_names(digest: str) -> tuple[str, str]:
    """The names of what a build with `--jpeg` adds to the model with this digest; the first needs the second."""
    return served_name(JPEG_MODEL, digest), served_name(DECODE_MODEL, digest)


def served_name(tower: str, digest: str) -> str:
    """The name under which Triton serves `tower` of the model with this digest, for instance `clip_image_0123456789ab`.

    What is served under a name never changes to another model.
    """
    return f"{tower}_{digest[:DIGEST_IN_NAME]}"
