"""Converting texts to token ids of a fixed length."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer as _Tokenizer

from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.vision.tokenizer import Tokenizer, TokenizerSettings
from tests.unit.model_build.bundles import END_ID, PAD_ID, START_ID, WORDS, BundleFiles, image_only, open_clip, siglip

MILK, KIWI, FRESH = (WORDS.index(word) for word in ("milk", "kiwi", "fresh"))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return load_bundle(BundleFiles().write(tmp_path / "bundle")).load_tokenizer()


def test_a_short_text_is_padded_to_the_context_length_and_masked(tokenizer: Tokenizer) -> None:
    ids, mask = tokenizer(["milk kiwi"])
    assert ids.tolist() == [[START_ID, MILK, KIWI, END_ID, PAD_ID, PAD_ID]]
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0]]


def test_a_truncated_text_keeps_its_end_token(tokenizer: Tokenizer) -> None:
    ids, mask = tokenizer(["milk " * 20])
    assert ids.tolist() == [[START_ID, MILK, MILK, MILK, MILK, END_ID]]
    assert mask.tolist() == [[1] * 6]


def test_texts_are_in_order_and_no_text_is_an_empty_batch(tokenizer: Tokenizer) -> None:
    ids, _mask = tokenizer(["kiwi", "milk", "kiwi"])
    assert ids[:, 1].tolist() == [KIWI, MILK, KIWI]
    assert [array.shape for array in tokenizer([])] == [(0, 6), (0, 6)]


def test_padding_is_on_the_side_that_the_bundle_names(tmp_path: Path) -> None:
    files = BundleFiles(tokenizer_config={"pad_token": "<pad>", "eos_token": "<end>", "padding_side": "left"})
    ids, mask = load_bundle(files.write(tmp_path / "bundle")).load_tokenizer()(["milk"])
    assert ids.tolist() == [[PAD_ID, PAD_ID, PAD_ID, START_ID, MILK, END_ID]]
    assert mask.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_siglip_pads_with_the_end_token_and_does_not_mask_the_padding(tmp_path: Path) -> None:
    files = siglip()
    files.tokenizer_config = {"pad_token": "<end>", "eos_token": "<end>"}
    ids, mask = load_bundle(files.write(tmp_path / "bundle")).load_tokenizer()(["milk"])
    assert ids.tolist() == [[START_ID, MILK, END_ID, END_ID, END_ID, END_ID]]
    assert mask.min() == 1


def test_open_clip_s_texts_are_cleaned_before_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = load_bundle(open_clip().write(tmp_path / "bundle")).load_tokenizer()
    ids, _mask = tokenizer(["  FRESH_Milk,\n'kiwi'! "])
    assert ids.tolist() == [[START_ID, FRESH, MILK, KIWI, END_ID, PAD_ID]]


def test_the_tokenizer_s_own_settings_for_length_are_ignored(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    other = _Tokenizer.from_file(str(folder / "tokenizer.json"))
    other.enable_truncation(3)
    other.enable_padding(length=40, pad_id=0)
    other.save(str(folder / "tokenizer.json"))
    ids, _mask = load_bundle(folder).load_tokenizer()(["milk kiwi"])
    assert ids.tolist() == [[START_ID, MILK, KIWI, END_ID, PAD_ID, PAD_ID]]


def test_added_tokens_that_no_text_gets_are_not_the_highest_id(tmp_path: Path) -> None:
    folder = BundleFiles().write(tmp_path / "bundle")
    other = _Tokenizer.from_file(str(folder / "tokenizer.json"))
    other.add_special_tokens([f"<extra_id_{number}>" for number in range(100)])
    other.save(str(folder / "tokenizer.json"))
    assert load_bundle(folder).load_tokenizer().highest_id == len(WORDS) - 1


@pytest.mark.parametrize(
    ("pad", "end", "length", "problem"),
    [
        (77, END_ID, 6, "has no token 77, which is the pad token"),
        (PAD_ID, 78, 6, "has no token 78, which is the end token"),
        (PAD_ID, MILK, 6, "ends texts with token 1; the model's end token is 3"),
        (PAD_ID, END_ID, 2, "has no space beside the 2 special tokens"),
    ],
)
def test_a_tokenizer_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, pad: int, end: int, length: int, problem: str
) -> None:
    file = BundleFiles().write(tmp_path / "bundle") / "tokenizer.json"
    with pytest.raises(ModelError, match=problem):
        Tokenizer.read(file, TokenizerSettings(context_length=length, pad_token_id=pad, eos_token_id=end))


def test_an_image_only_bundle_has_no_tokenizer(tmp_path: Path) -> None:
    bundle = load_bundle(image_only().write(tmp_path / "bundle"))
    with pytest.raises(ModelError, match="image-only"):
        bundle.load_tokenizer()


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}'])
def test_a_broken_tokenizer_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a usable tokenizer"):
        Tokenizer.read(file, TokenizerSettings(context_length=6, pad_token_id=PAD_ID))


def test_a_missing_tokenizer_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Tokenizer.read(tmp_path / "tokenizer.json", TokenizerSettings(context_length=6, pad_token_id=PAD_ID))
