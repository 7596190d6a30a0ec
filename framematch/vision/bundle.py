"""Reads a model bundle: a folder in the layout of public CLIP ONNX exports.

    config.json                what the model is (`projection_dim`, image size, context length)
    preprocessor_config.json   how a picture becomes the image tower's input
    tokenizer.json             how a text becomes token ids
    tokenizer_config.json      optional: names the padding and end tokens; without it config.json's ids count
    onnx/vision_model.onnx     `pixel_values` -> `image_embeds`
    onnx/text_model.onnx       `input_ids` (and `attention_mask`) -> `text_embeds`

A bundle without a text tower says so by `"model_type": "clip_vision_model"` in its config.json; then the tokenizer and
the text graph are not asked for.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from framematch.core.errors import ModelError
from framematch.vision.processor_config import COPY_AGAIN_HINT, PreprocessSpec, parse_processor_config

__all__ = ["Bundle", "PreprocessSpec", "TextTower", "load_bundle"]

_LAYOUT_HINT = "Give the folder of a CLIP ONNX export: config.json, preprocessor_config.json, tokenizer.json and onnx/"

_T = TypeVar("_T")


@dataclass(frozen=True)
class TextTower:
    """The text half of a bundle. Ids are those of the tokenizer; `context_length` counts tokens."""

    graph: Path
    tokenizer: Path
    context_length: int
    pad_token_id: int
    eos_token_id: int


@dataclass(frozen=True)
class Bundle:
    """A bundle that is complete on disk; its graphs are read when a model repository is built."""

    path: Path
    name: str
    dimension: int
    preprocess: PreprocessSpec
    image_graph: Path
    text: TextTower | None

    @property
    def context_length(self) -> int | None:
        """Tokens of a text, or None when the bundle is image-only."""
        return self.text.context_length if self.text else None


@dataclass(frozen=True)
class _TextConfig:
    max_position_embeddings: int
    pad_token_id: int | None = None
    eos_token_id: int | None = None


@dataclass(frozen=True)
class _Config:
    model_type: str
    projection_dim: int
    text_config: _TextConfig | None = None


@dataclass(frozen=True)
class _Token:
    content: str


@dataclass(frozen=True)
class _TokenizerConfig:
    pad_token: str | _Token | None = None
    eos_token: str | _Token | None = None


@dataclass(frozen=True)
class _AddedToken:
    id: int
    content: str


@dataclass(frozen=True)
class _TokenizerFile:
    added_tokens: list[_AddedToken] = field(default_factory=list)


def load_bundle(path: Path) -> Bundle:
    """Read and check the bundle in the folder `path`.

    Raises:
        ModelError: a file is missing or unreadable, or the bundle asks for something that is not supported.
    """
    path = path.resolve()
    if not path.is_dir():
        raise ModelError(f"no model bundle at {path}: it is not a folder", hint=_LAYOUT_HINT)
    config = _decode(path / "config.json", _Config)
    if config.model_type not in {"clip", "clip_vision_model"}:
        raise ModelError(
            f"{path / 'config.json'} has model_type {config.model_type!r}, which is not supported",
            hint='Supported: "clip" (image and text) and "clip_vision_model" (image only)',
        )
    return Bundle(
        path=path,
        name=path.name,
        dimension=config.projection_dim,
        preprocess=parse_processor_config(_existing(path / "preprocessor_config.json")),
        image_graph=_existing(path / "onnx" / "vision_model.onnx"),
        text=_text_tower(path, config) if config.model_type == "clip" else None,
    )


def _text_tower(path: Path, config: _Config) -> TextTower:
    if config.text_config is None:
        raise ModelError(
            f"{path / 'config.json'} has no text_config, so the bundle has no text tower",
            hint='An image-only bundle must say so: "model_type": "clip_vision_model"',
        )
    tokenizer = _existing(path / "tokenizer.json")
    names = _TokenizerConfig()
    if (path / "tokenizer_config.json").exists():
        names = _decode(path / "tokenizer_config.json", _TokenizerConfig)
    ids = {token.content: token.id for token in _decode(tokenizer, _TokenizerFile).added_tokens}
    return TextTower(
        graph=_existing(path / "onnx" / "text_model.onnx"),
        tokenizer=tokenizer,
        context_length=config.text_config.max_position_embeddings,
        pad_token_id=_token_id("pad_token", names.pad_token, ids, config.text_config.pad_token_id, path),
        eos_token_id=_token_id("eos_token", names.eos_token, ids, config.text_config.eos_token_id, path),
    )


def _token_id(role: str, token: str | _Token | None, ids: dict[str, int], fallback: int | None, path: Path) -> int:
    """The id of a special token, by the tokenizer's name for it: old CLIP configs carry wrong ids (pad 1, eos 2)."""
    content = token.content if isinstance(token, _Token) else token
    if content is not None and content in ids:
        return ids[content]
    if content is not None:
        raise ModelError(
            f"tokenizer_config.json names {content!r} as {role}, which is not among tokenizer.json's added_tokens",
            hint=f"Copy both files of {path} from the same export",
        )
    if fallback is None:
        raise ModelError(
            f"the bundle {path} does not say which token is its {role}",
            hint=f"Add tokenizer_config.json with {role}, or text_config.{role}_id to config.json",
        )
    return fallback


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    found = (
        ", ".join(sorted(entry.name for entry in path.parent.iterdir())) if path.parent.is_dir() else "no such folder"
    )
    raise ModelError(f"the model bundle lacks {path} (found there: {found or 'nothing'})", hint=_LAYOUT_HINT)


def _decode(path: Path, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(_existing(path).read_bytes(), type=shape)
    except msgspec.DecodeError as error:
        raise ModelError(f"{path} is not usable: {error}", hint=COPY_AGAIN_HINT) from error
