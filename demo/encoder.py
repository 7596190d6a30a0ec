"""Writes the demo's stand-in model, an untrained dual encoder, as a model bundle: `python -m demo.encoder DIR`.

Nothing is learnt or fitted: pictures of similar colours are close, texts with common words are close, and texts and
pictures have nothing to do with each other.
"""

import argparse
import csv
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

from demo.dataset import DATA_DIR
from demo.encoder_graphs import DIMENSION, SIDE_PX, text_model, vision_model

MAX_TOKENS = 77  # as in CLIP
_START, _END, _UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"


def main() -> None:
    """Write a bundle to the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Write the demo's untrained model bundle.")
    parser.add_argument("destination", type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(write_bundle(arguments.destination, arguments.seed))


def write_bundle(destination: Path, seed: int = 0) -> Path:
    """Write a bundle in the layout of a CLIP ONNX export into `destination`, over an earlier one; gives `destination`.

    Pictures are 112 x 112, embeddings have 128 dimensions and texts up to 77 tokens. Same seed, same bytes.
    """
    rng = np.random.default_rng(seed)
    tokenizer = _tokenizer()
    (destination / "onnx").mkdir(parents=True, exist_ok=True)
    onnx.save(vision_model(rng), destination / "onnx" / "vision_model.onnx")
    onnx.save(text_model(rng, tokenizer.get_vocab_size()), destination / "onnx" / "text_model.onnx")
    tokenizer.save(str(destination / "tokenizer.json"))
    _write_json(destination / "preprocessor_config.json", _preprocessor_config())
    # Last: a bundle without it is incomplete, so one that was cut short is not taken for whole.
    _write_json(destination / "config.json", _config(tokenizer))
    return destination


def _tokenizer() -> Tokenizer:
    """Lower-case words and punctuation marks; the vocabulary is what the catalogue's texts consist of."""
    with (DATA_DIR / "catalog.csv").open(newline="", encoding="utf-8") as file:
        texts = [f"{row['name']} {row['category']} {row['description']}" for row in csv.DictReader(file)]
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text.lower())})
    special = [_START, _END, _UNKNOWN]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}", special_tokens=[(token, vocabulary[token]) for token in (_START, _END)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return tokenizer


def _preprocessor_config() -> dict[str, Any]:
    """Resize, crop the centre and scale to 0..1; the graph wants no other normalisation."""
    return {
        "crop_size": {"height": SIDE_PX, "width": SIDE_PX},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0, 0.0, 0.0],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [1.0, 1.0, 1.0],
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": SIDE_PX},
    }


def _config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The keys of CLIP's config.json that hold for these towers."""
    return {
        "model_type": "clip",
        "projection_dim": DIMENSION,
        "text_config": {
            "bos_token_id": tokenizer.token_to_id(_START),
            "eos_token_id": tokenizer.token_to_id(_END),
            "max_position_embeddings": MAX_TOKENS,
            "model_type": "clip_text_model",
            "pad_token_id": tokenizer.token_to_id(_END),
            "projection_dim": DIMENSION,
            "vocab_size": tokenizer.get_vocab_size(),
        },
        "vision_config": {
            "image_size": SIDE_PX,
            "model_type": "clip_vision_model",
            "num_channels": 3,
            "projection_dim": DIMENSION,
        },
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")


if __name__ == "__main__":
    main()
