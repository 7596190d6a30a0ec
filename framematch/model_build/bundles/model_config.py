"""Reads a model's configuration, in either of two formats.

`config.json` is the transformers library's format, and `open_clip_config.json` is OpenCLIP's; some exports have the
inner part of OpenCLIP's as config.json. Numbers that a nested section of the transformers library's file leaves out
have that library's defaults, because it writes only what differs from them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle_folder import BundleFolder
from framematch.model_build.bundles.layouts import CLIP, OPENCLIP, SIGLIP, SUPPORTED_HINT, Layout
from framematch.vision.model_files import decode_json
from framematch.vision.tokenizer import Cleaning

_Positive = Annotated[int, msgspec.Meta(ge=1)]

_CLIP_CONTEXT_LENGTH = 77
_SIGLIP_CONTEXT_LENGTH = 64
_SIGLIP_HIDDEN_SIZE = 768
_WITHOUT_TEXT = {"clip_vision_model", "siglip_vision_model"}
_MODEL_TYPES: dict[str, Layout] = {
    "clip": CLIP,
    "clip_vision_model": CLIP,
    "siglip": SIGLIP,
    "siglip_vision_model": SIGLIP,
}


@dataclass(frozen=True)
class TextConfig:
    """The text tower: its context length, special tokens and the cleaning of texts."""

    context_length: int
    pad_token_id: int | None = None
    eos_token_id: int | None = None
    pads_with_zero: bool = False
    cleaning: Cleaning = "none"


@dataclass(frozen=True)
class ModelConfig:
    """`image_size` is (height, width) in pixels, None when not stated; `text` is None without a text tower."""

    source: Path
    layout: Layout
    dimension: int
    image_size: tuple[int, int] | None
    text: TextConfig | None


def read_model_config(folder: BundleFolder) -> ModelConfig:
    """Read the configuration that describes the model.

    Raises:
        ModelError: there is none, or the model is not supported; the message lists the folder's files.
    """
    path = folder.find("config.json")
    settings = decode_json(path, dict[str, Any]) if path else {}
    open_clip = folder.find("open_clip_config.json")
    model_type = settings.get("model_type")
    # Some OpenCLIP exports have a config.json with nothing but a model_type.
    described = model_type in _WITHOUT_TEXT or "text_config" in settings or "projection_dim" in settings
    if path and model_type in _MODEL_TYPES and (described or open_clip is None):
        return _from_transformers(path, str(model_type))
    if open_clip is not None:
        return _from_open_clip(open_clip, decode_json(open_clip, _OpenClipFile).model_cfg)
    if path and {"embed_dim", "vision_cfg", "text_cfg"} <= settings.keys():
        return _from_open_clip(path, decode_json(path, _OpenClipModel))
    problem = f"model_type {model_type!r}" if path else "no config.json"
    raise ModelError(
        f"{folder.path} is not a model bundle that can be used: {problem}; found: {folder.describe()}",
        hint=SUPPORTED_HINT,
    )


@dataclass(frozen=True)
class _Section:
    hidden_size: _Positive = _SIGLIP_HIDDEN_SIZE
    image_size: _Positive | None = None
    max_position_embeddings: _Positive | None = None
    pad_token_id: int | None = None
    eos_token_id: int | None = None


@dataclass(frozen=True)
class _Clip:
    projection_dim: _Positive
    text_config: _Section | None = None
    vision_config: _Section = field(default_factory=_Section)
    image_size: _Positive | None = None


@dataclass(frozen=True)
class _Siglip:
    text_config: _Section | None = None
    vision_config: _Section | None = None
    hidden_size: _Positive = _SIGLIP_HIDDEN_SIZE
    image_size: _Positive | None = None


def _from_transformers(path: Path, model_type: str) -> ModelConfig:
    layout = _MODEL_TYPES[model_type]
    with_text = model_type not in _WITHOUT_TEXT
    config: _Clip | _Siglip
    if layout is CLIP:
        config = decode_json(path, _Clip)
        dimension, default_length = config.projection_dim, _CLIP_CONTEXT_LENGTH
    else:
        config = decode_json(path, _Siglip)
        dimension = config.vision_config.hidden_size if config.vision_config else config.hidden_size
        default_length = _SIGLIP_CONTEXT_LENGTH
    section = config.text_config
    if with_text and section is None:
        raise ModelError(
            f"{path} has no text_config, so the bundle has no text tower",
            hint=f'An image-only bundle must say so: "model_type": "{model_type}_vision_model"',
        )
    side = (config.vision_config and config.vision_config.image_size) or config.image_size
    return ModelConfig(
        source=path,
        layout=layout,
        dimension=dimension,
        image_size=(side, side) if side else None,
        text=TextConfig(section.max_position_embeddings or default_length, section.pad_token_id, section.eos_token_id)
        if with_text and section
        else None,
    )


@dataclass(frozen=True)
class _OpenClipVision:
    # No `_Positive` here: msgspec 0.22 crashes on a bounded number in a union with a tuple.
    image_size: int | tuple[int, int] = 224


@dataclass(frozen=True)
class _OpenClipText:
    context_length: _Positive = _CLIP_CONTEXT_LENGTH
    hf_tokenizer_name: str | None = None
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _OpenClipModel:
    embed_dim: _Positive
    vision_cfg: _OpenClipVision
    text_cfg: _OpenClipText


@dataclass(frozen=True)
class _OpenClipFile:
    model_cfg: _OpenClipModel


def _from_open_clip(path: Path, model: _OpenClipModel) -> ModelConfig:
    size, text = model.vision_cfg.image_size, model.text_cfg
    # OpenCLIP's own tokenizer pads with zeros and converts to lower case; the transformers library's does neither.
    open_clip_tokenizer = text.hf_tokenizer_name is None
    options = {"clean": "lower" if open_clip_tokenizer else "whitespace", **text.tokenizer_kwargs}
    cleaning = options.pop("clean")
    unknown = {name: value for name, value in options.items() if value not in (None, False)}
    if cleaning not in {"lower", "whitespace", "canonicalize"} or unknown:
        raise ModelError(
            f"{path} asks for tokenizer_kwargs {text.tokenizer_kwargs}, which is not supported",
            hint='Supported: "clean" with "lower", "whitespace" or "canonicalize"',
        )
    return ModelConfig(
        source=path,
        layout=OPENCLIP,
        dimension=model.embed_dim,
        image_size=(size, size) if isinstance(size, int) else size,
        text=TextConfig(text.context_length, pads_with_zero=open_clip_tokenizer, cleaning=cleaning),
    )
