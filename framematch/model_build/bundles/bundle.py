"""Reads a model bundle: a folder in the layout of public ONNX exports of CLIP, SigLIP or OpenCLIP.

    config.json                the model's type, dimension, picture size and context length; OpenCLIP's exports have
                               open_clip_config.json instead
    preprocessor_config.json   the preprocessing of pictures; OpenCLIP has it in open_clip_config.json
    tokenizer.json             the tokenizer
    tokenizer_config.json      optional: names the padding and end tokens; without it config.json's ids are used
    prompts.json               optional: templates for product names, `{"templates": ["a photo of {name}"]}`
    onnx/vision_model.onnx     pixels -> one vector per picture; also in the folder itself
    onnx/text_model.onnx       token ids -> one vector per text; also in the folder itself

A bundle without a text tower has `"model_type": "clip_vision_model"` (or `siglip_vision_model`) in its config.json, and
needs no tokenizer and no text graph.
"""

from dataclasses import dataclass
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle_folder import BundleFolder
from framematch.model_build.bundles.layouts import CLIP, OPENCLIP, Layout
from framematch.model_build.bundles.model_config import ModelConfig, TextConfig, read_model_config
from framematch.model_build.bundles.open_clip_preprocess import parse_open_clip_preprocess
from framematch.model_build.bundles.processor_config import parse_processor_config
from framematch.model_build.bundles.prompts import PHOTO_TEMPLATES, read_prompts
from framematch.model_build.bundles.special_tokens import read_special_tokens
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.tokenizer import Cleaning, PaddingSide, Tokenizer, TokenizerSettings


@dataclass(frozen=True)
class TextTower:
    """The text half of a bundle. `context_length` is in tokens.

    `cleaning` is how a text is cleaned before the tokenizer (`none`, `whitespace`, `lower` or `canonicalize`).
    `prompts` are the templates for product names.
    """

    graph: Path
    tokenizer: Path
    context_length: int
    pad_token_id: int
    eos_token_id: int
    padding_side: PaddingSide = "right"
    cleaning: Cleaning = "none"
    prompts: tuple[str, ...] = PHOTO_TEMPLATES


@dataclass(frozen=True)
class Bundle:
    """A bundle that is complete on disk. Its graphs are read only when a model repository is built."""

    path: Path
    name: str
    dimension: int
    preprocess: PreprocessSpec
    image_graph: Path
    text: TextTower | None
    layout: Layout = CLIP

    @property
    def context_length(self) -> int | None:
        """The text tower's context length in tokens, or None when the bundle is image-only."""
        return self.text.context_length if self.text else None

    def load_tokenizer(self) -> Tokenizer:
        """The tokenizer of the text tower.

        Raises:
            ModelError: the bundle has no text tower, or its tokenizer is not usable.
        """
        if self.text is None:
            raise ModelError(
                f"the model bundle {self.path} is image-only", hint="Texts need a bundle with a text tower"
            )
        settings = TokenizerSettings(
            context_length=self.text.context_length,
            pad_token_id=self.text.pad_token_id,
            eos_token_id=self.text.eos_token_id,
            padding_side=self.text.padding_side,
            masks_padding=self.layout.masks_padding,
            cleaning=self.text.cleaning,
        )
        return Tokenizer.read(self.text.tokenizer, settings)


def load_bundle(path: Path) -> Bundle:
    """Read and check the bundle in the folder `path`.

    Raises:
        ModelError: a file is missing or unreadable, or the bundle needs something that is not supported.
    """
    folder = BundleFolder.open(path)
    config = read_model_config(folder)
    return Bundle(
        path=folder.path,
        name=folder.path.name,
        dimension=config.dimension,
        preprocess=_preprocess(folder, config),
        image_graph=folder.require(*config.layout.image_graphs),
        text=_text_tower(folder, config.layout, config.text) if config.text else None,
        layout=config.layout,
    )


def _preprocess(folder: BundleFolder, config: ModelConfig) -> PreprocessSpec:
    spec = _stated_preprocess(folder, config)
    size = (spec.crop_height, spec.crop_width)
    if config.image_size not in (None, size):
        raise ModelError(
            f"{config.source} has pictures of {config.image_size[0]} x {config.image_size[1]}, "
            f"the preprocessing makes {size[0]} x {size[1]}",
            hint="Copy the configuration files from one export",
        )
    return spec


def _stated_preprocess(folder: BundleFolder, config: ModelConfig) -> PreprocessSpec:
    if config.layout is OPENCLIP and config.image_size:
        # OpenCLIP's own file is what the model was trained with; a preprocessor_config.json beside it is derived.
        stated = folder.find("open_clip_config.json", "visual/preprocess_cfg.json", "preprocess_cfg.json")
        if stated is not None:
            return parse_open_clip_preprocess(stated, config.image_size)
    return parse_processor_config(folder.require("preprocessor_config.json"))


def _text_tower(folder: BundleFolder, layout: Layout, config: TextConfig) -> TextTower:
    tokenizer = folder.require("tokenizer.json", "textual/tokenizer.json")
    tokens = read_special_tokens(tokenizer, config)
    return TextTower(
        graph=folder.require(*layout.text_graphs),
        tokenizer=tokenizer,
        context_length=config.context_length,
        pad_token_id=tokens.pad_token_id,
        eos_token_id=tokens.eos_token_id,
        padding_side=tokens.padding_side,
        cleaning=config.cleaning,
        prompts=read_prompts(folder),
    )
