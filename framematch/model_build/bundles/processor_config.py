"""Reads preprocessor_config.json into a `PreprocessSpec`, and refuses every setting that is not supported."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from framematch.core.errors import ModelError
from framematch.vision.manifest import PreprocessSpec, Resample, Rgb
from framematch.vision.model_files import COPY_AGAIN_HINT, decode_json

DEFAULT_RESCALE_FACTOR = 1 / 255
# Pillow's numbers, which the transformers library writes.
_RESAMPLE: Mapping[int, Resample] = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class _Family:
    """One kind of image processor: the supported values of its settings, and its defaults.

    The first value of each of `fixed` is its default.
    """

    types: tuple[str, ...]
    fixed: Mapping[str, tuple[object, ...]]
    number_is_square: bool  # whether a size of one number means both sides, and not the shortest side
    defaults: Mapping[str, object]


_ALWAYS: Mapping[str, tuple[object, ...]] = {
    "do_resize": (True,),
    "do_rescale": (True,),
    "do_normalize": (True,),
    "do_convert_rgb": (True, None),
    "data_format": ("channels_first",),
}
_FAMILIES = (
    _Family(
        types=("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor"),
        fixed={**_ALWAYS, "do_center_crop": (True, False), "processor_class": ("CLIPProcessor", "SiglipProcessor")},
        number_is_square=False,
        defaults={},
    ),
    _Family(
        types=("SiglipImageProcessor", "SiglipImageProcessorFast"),
        fixed={**_ALWAYS, "do_center_crop": (False, None), "processor_class": ("SiglipProcessor", "CLIPProcessor")},
        number_is_square=True,
        defaults={"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)},
    ),
)
_TYPE_NAMES = ("image_processor_type", "feature_extractor_type")
_READ = {"size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std"}
_BOOKKEEPING = {"_valid_processor_keys", *_TYPE_NAMES}


@dataclass(frozen=True)
class _Size:
    shortest_edge: int | None = None
    longest_edge: int | None = None
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class _ProcessorConfig:
    size: _Size | int
    image_mean: Rgb
    image_std: Rgb
    crop_size: _Size | int | None = None
    resample: int = 3
    rescale_factor: float = DEFAULT_RESCALE_FACTOR


def parse_processor_config(path: Path) -> PreprocessSpec:
    """Read the file `path`.

    Raises:
        ModelError: it is not valid, or has a setting that is not supported.
    """
    settings = decode_json(path, dict[str, Any])
    family = _family(path, settings)
    _refuse_unsupported(path, settings, family)
    read = {name: settings[name] for name in _READ & settings.keys() if settings[name] is not None}
    try:
        config = msgspec.convert({**family.defaults, **read}, type=_ProcessorConfig)
    except msgspec.ValidationError as error:
        raise ModelError(f"{path} is not usable: {error}", hint=COPY_AGAIN_HINT) from error
    crops = bool(settings.get("do_center_crop", family.fixed["do_center_crop"][0]))
    spec = _spec(path, config, crops=crops, number_is_square=family.number_is_square)
    if spec is None:
        raise unsupported(
            path,
            f"size = {settings['size']!r}, crop_size = {settings.get('crop_size')!r} and do_center_crop = {crops}",
            "Supported: size with shortest_edge, and a crop; or size with height and width, and no other crop",
        )
    return require_supported(path, spec)


def require_supported(path: Path, spec: PreprocessSpec) -> PreprocessSpec:
    """Check `spec`, which was read from `path`, and return it.

    Raises:
        ModelError: it is not supported.
    """
    if min(spec.crop_height, spec.crop_width) < 1:
        raise unsupported(path, f"pictures of {spec.crop_height} x {spec.crop_width}", "Sizes must be positive")
    if spec.resize_shortest_edge is not None and max(spec.crop_height, spec.crop_width) > spec.resize_shortest_edge:
        raise unsupported(
            path,
            f"crop_size {spec.crop_height} x {spec.crop_width} with shortest_edge {spec.resize_shortest_edge}",
            "The crop must fit into the resized picture",
        )
    if spec.rescale_factor <= 0 or min(spec.std) <= 0:
        raise unsupported(path, "rescale_factor or image_std of zero or less", "Both must be positive")
    return spec


def unsupported(path: Path, what: str, why: str) -> ModelError:
    """The error for the setting `what` in the file `path`."""
    return ModelError(f"{path} asks for {what}, which is not supported", hint=why)


def _family(path: Path, settings: Mapping[str, Any]) -> _Family:
    """The family of the first type name in `settings`; CLIP's when there is none."""
    named = next((settings[name] for name in _TYPE_NAMES if settings.get(name)), _FAMILIES[0].types[0])
    found = next((family for family in _FAMILIES if named in family.types), None)
    if found is None:
        supported = ", ".join(kind for family in _FAMILIES for kind in family.types)
        raise unsupported(path, f"image processor {named!r}", f"Supported: {supported}")
    return found


def _refuse_unsupported(path: Path, settings: Mapping[str, Any], family: _Family) -> None:
    for name, value in settings.items():
        if name in family.fixed and value not in family.fixed[name]:
            allowed = " or ".join(repr(allowed) for allowed in family.fixed[name])
            raise unsupported(path, f"{name} = {value!r}", f"{family.types[0]} is supported with {allowed}")
        # null and false switch a feature off, so ignoring the setting is correct.
        known = name in family.fixed or name in _READ or name in _BOOKKEEPING
        if not known and value not in (None, False):
            raise unsupported(path, f"{name} = {value!r}", "This processor setting is not known here")


def _spec(path: Path, config: _ProcessorConfig, *, crops: bool, number_is_square: bool) -> PreprocessSpec | None:
    """None when size and crop do not give one size, or need more than is supported."""
    if config.resample not in _RESAMPLE:
        raise unsupported(path, f"resample = {config.resample}", "Only 2 (bilinear) and 3 (bicubic) are supported")
    edge, squeezed = _resize(config.size, number_is_square=number_is_square)
    cropped = _rectangle(config.crop_size) if crops else squeezed
    if (edge is None) == (squeezed is None) or cropped is None or (squeezed and cropped != squeezed):
        return None
    return PreprocessSpec(
        resize_shortest_edge=edge,
        crop_height=cropped[0],
        crop_width=cropped[1],
        resample=_RESAMPLE[config.resample],
        rescale_factor=config.rescale_factor,
        mean=config.image_mean,
        std=config.image_std,
    )


def _resize(size: _Size | int, *, number_is_square: bool) -> tuple[int | None, tuple[int, int] | None]:
    """The length of the shortest edge, or height and width of the whole picture; neither when not supported."""
    if isinstance(size, int):
        return (None, (size, size)) if number_is_square else (size, None)
    if size.longest_edge is not None:
        return None, None
    return size.shortest_edge, _rectangle(size)


def _rectangle(size: _Size | int | None) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if size is None or size.height is None or size.width is None:
        return None
    return size.height, size.width
