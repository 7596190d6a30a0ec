"""Texts to token ids of a fixed length."""

from pathlib import Path

import pytest

from framematch.core.errors import ModelError
from framematch.vision.bundle import load_bundle
from framematch.vision.tokenizer import Tokenizer
from tests.unit.vision.bundles import END_ID, PAD_ID, START_ID, WORDS, BundleFiles, image_only

MILK, KIWI = WORDS.index("milk"), WORDS.index("kiwi")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.from_bundle(load_bundle(BundleFiles().write(tmp_path / "bundle")))


def test_a_short_text_is_padded_to_the_context_length_and_masked(tokenizer: Tokenizer) -> None:
    ids, mask = tokenizer(["milk kiwi"])
    assert ids.tolist() == [[START_ID, MILK, KIWI, END_ID, PAD_ID, PAD_ID]]
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0]]


def test_a_long_text_loses_its_tail_but_keeps_its_end_token(tokenizer: Tokenizer) -> None:
    ids, mask = tokenizer(["milk " * 20])
    assert ids.tolist() == [[START_ID, MILK, MILK, MILK, MILK, END_ID]]
    assert mask.tolist() == [[1] * 6]


def test_an_image_only_bundle_has_no_tokenizer(tmp_path: Path) -> None:
    bundle = load_bundle(image_only().write(tmp_path / "bundle"))
    with pytest.raises(ModelError, match="image-only"):
        Tokenizer.from_bundle(bundle)


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}'])
def test_a_broken_tokenizer_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a usable tokenizer"):
        Tokenizer(file, context_length=6, pad_token_id=PAD_ID)


def test_a_missing_tokenizer_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Tokenizer(tmp_path / "tokenizer.json", context_length=6, pad_token_id=PAD_ID)
