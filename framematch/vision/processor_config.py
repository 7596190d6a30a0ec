"""Reads preprocessor_config.json into a `PreprocessSpec`, and refuses every setting that it does not carry out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from framematch.core.errors import ModelError

COPY_AGAIN_HINT = "Copy the file again from the model's export"

Resample = Literal["bilinear", "bicubic"]

# PIL's numbers, which the files of the transformers library carry.
_RESAMPLE: Mapping[int, Resample] = {2: "bilinear", 3: "bicubic"}
_DEFAULT_RESCALE_FACTOR = 1 / 255
_IMAGE_PROCESSORS = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor")

# Settings with one supported value or a few; what is absent has CLIP's default, which is the first of each.
_FIXED: Mapping[str, tuple[object, ...]] = {
    "do_resize": (True,),
    "do_center_crop": (True,),
    "do_rescale": (True,),
    "do_normalize": (True,),
    "do_convert_rgb": (True, None),
    "data_format": ("channels_first",),
    "image_processor_type": _IMAGE_PROCESSORS,
    "feature_extractor_type": _IMAGE_PROCESSORS,
    "processor_class": ("CLIPProcessor",),
}
_READ = {"size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std"}
_BOOKKEEPING = {"_valid_processor_keys"}


@dataclass(frozen=True)
class PreprocessSpec:
    """How an RGB picture becomes the image tower's input.

    Resize so that the shortest edge has `resize_shortest_edge` pixels, crop the centre to `crop_height` x `crop_width`,
    then per channel (value * rescale_factor - mean) / std.
    """

    resize_shortest_edge: int
    crop_height: int
    crop_width: int
    resample: Resample
    rescale_factor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class _ShortestEdge:
    shortest_edge: int


@dataclass(frozen=True)
class _Crop:
    height: int
    width: int


@dataclass(frozen=True)
class _ProcessorConfig:
    size: _ShortestEdge | int
    crop_size: _Crop | int
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    resample: int = 3
    rescale_factor: float = _DEFAULT_RESCALE_FACTOR


def parse_processor_config(path: Path) -> PreprocessSpec:
    """Read the file `path`.

    Raises:
        ModelError: it is not valid, or holds a setting that this program would have to ignore.
    """
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        _refuse_unsupported(path, settings)
        config = msgspec.convert({name: settings[name] for name in _READ & settings.keys()}, type=_ProcessorConfig)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ModelError(f"{path} is not usable: {error}", hint=COPY_AGAIN_HINT) from error
    return _spec(path, config)


def _refuse_unsupported(path: Path, settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name in _FIXED and value not in _FIXED[name]:
            supported = " or ".join(repr(allowed) for allowed in _FIXED[name])
            raise _unsupported(path, f"{name} = {value!r}", f"Only {supported} is supported")
        # null and false switch a feature off, so there is nothing to ignore.
        known = name in _FIXED or name in _READ or name in _BOOKKEEPING
        if not known and value not in (None, False):
            raise _unsupported(path, f"{name} = {value!r}", "This processor setting is not known here")


def _spec(path: Path, config: _ProcessorConfig) -> PreprocessSpec:
    crop = _Crop(config.crop_size, config.crop_size) if isinstance(config.crop_size, int) else config.crop_size
    shortest_edge = config.size if isinstance(config.size, int) else config.size.shortest_edge
    if config.resample not in _RESAMPLE:
        raise _unsupported(path, f"resample = {config.resample}", "Only 2 (bilinear) and 3 (bicubic) are supported")
    if min(crop.height, crop.width) < 1 or max(crop.height, crop.width) > shortest_edge:
        raise _unsupported(
            path,
            f"crop_size {crop.height} x {crop.width} with shortest_edge {shortest_edge}",
            "The crop must fit into the resized picture",
        )
    if config.rescale_factor <= 0 or min(config.image_std) <= 0:
        raise _unsupported(path, "rescale_factor or image_std of zero or less", "Both must be positive")
    return PreprocessSpec(
        resize_shortest_edge=shortest_edge,
        crop_height=crop.height,
        crop_width=crop.width,
        resample=_RESAMPLE[config.resample],
        rescale_factor=config.rescale_factor,
        mean=config.image_mean,
        std=config.image_std,
    )


def _unsupported(path: Path, what: str, why: str) -> ModelError:
    return ModelError(f"{path} asks for {what}, which is not supported", hint=why)
