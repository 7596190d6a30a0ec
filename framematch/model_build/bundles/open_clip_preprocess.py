"""Reads the preprocessing from OpenCLIP's configuration."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from framematch.core.errors import ModelError
from framematch.model_build.bundles.processor_config import (
    DEFAULT_RESCALE_FACTOR,
    require_supported,
    unsupported,
)
from framematch.vision.manifest import PreprocessSpec, Resample, Rgb
from framematch.vision.model_files import COPY_AGAIN_HINT, decode_json

# OpenCLIP's defaults, which are those of OpenAI's CLIP.
_MEAN: Rgb = (0.48145466, 0.4578275, 0.40821073)
_STD: Rgb = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class _Preprocess:
    size: int | tuple[int, int] | None = None
    mode: Literal["RGB"] = "RGB"
    mean: Rgb = _MEAN
    std: Rgb = _STD
    interpolation: Resample = "bicubic"
    resize_mode: Literal["shortest", "squash"] = "shortest"


@dataclass(frozen=True)
class _File:
    preprocess_cfg: dict[str, Any] = field(default_factory=dict)


def parse_open_clip_preprocess(path: Path, image_size: tuple[int, int]) -> PreprocessSpec:
    """Read open_clip_config.json at `path`, or the preprocess_cfg.json that some exports have beside the graph.

    `image_size` (height, width) is used when the file has no size.

    Raises:
        ModelError: the file is not valid, or needs something that is not supported.
    """
    settings = decode_json(path, dict[str, Any])
    if path.name == "open_clip_config.json":
        settings = decode_json(path, _File).preprocess_cfg
    try:
        config = msgspec.convert({name: value for name, value in settings.items() if value is not None}, _Preprocess)
    except msgspec.ValidationError as error:
        raise ModelError(f"{path} is not usable: {error}", hint=COPY_AGAIN_HINT) from error
    size = config.size or image_size
    height, width = (size, size) if isinstance(size, int) else size
    if config.resize_mode == "shortest" and height != width:
        raise unsupported(path, f"resize_mode shortest with {height} x {width}", "That needs a square picture")
    spec = PreprocessSpec(
        resize_shortest_edge=height if config.resize_mode == "shortest" else None,
        crop_height=height,
        crop_width=width,
        resample=config.interpolation,
        rescale_factor=DEFAULT_RESCALE_FACTOR,
        mean=config.mean,
        std=config.std,
    )
    return require_supported(path, spec)
