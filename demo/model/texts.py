"""The text tower's input: a small tokenizer of the catalogue's words, and random texts for each product."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece

from demo.model.grocery import Product

CONTEXT_LENGTH = 77  # as in CLIP
VOCABULARY = 1400
START, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"

_PHRASES = ("{name} {category}", "{category} {name}", "a photo of {name}", "a photo of a {name}")
_BARE = 0.5  # share of names without a phrase
_WORDS_KEPT = (0.4, 1.0)  # share of a description's words


def make_tokenizer(products: Sequence[Product]) -> Tokenizer:
    """A tokenizer of lower-case words; unknown words are split into pieces."""
    texts = [f"{p.name} {p.category} {p.description}" for p in products] + list(_PHRASES)
    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    special = [AddedToken(token, normalized=False, special=True) for token in (START, END, UNKNOWN)]
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (START, END)]
    )
    return tokenizer


class TextSource:
    """Two random texts for each product, by step number: a name and a description."""

    def __init__(self, products: Sequence[Product], tokenizer: Tokenizer, *, seed: int) -> None:
        self._products = products
        self._tokenizer = tokenizer
        self._seed = seed

    def __call__(self, step: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Token ids and mask [2 * products, CONTEXT_LENGTH]: all names, then all descriptions."""
        rng = np.random.default_rng([self._seed, step, 1])
        naming = [_naming(product, rng) for product in self._products]
        return encode(self._tokenizer, [*naming, *(_describing(product, rng) for product in self._products)])


def _naming(product: Product, rng: np.random.Generator) -> str:
    if rng.uniform() < _BARE:
        return product.name
    return _PHRASES[rng.integers(len(_PHRASES))].format(name=product.name, category=product.category)


def _describing(product: Product, rng: np.random.Generator) -> str:
    """A random choice of the description's words, in order."""
    words = product.description.split()
    share = rng.uniform(*_WORDS_KEPT)
    return " ".join([word for word in words if rng.uniform() < share] or words)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Token ids int32 and mask float32 [N, CONTEXT_LENGTH], cut and padded as the served tokenizer does."""
    tokenizer.enable_truncation(CONTEXT_LENGTH)
    tokenizer.enable_padding(length=CONTEXT_LENGTH, pad_id=tokenizer.token_to_id(END), pad_token=END)
    encodings = tokenizer.encode_batch(list(texts))
    ids = np.array([encoding.ids for encoding in encodings], np.int32)
    return ids, np.array([encoding.attention_mask for encoding in encodings], np.float32)
