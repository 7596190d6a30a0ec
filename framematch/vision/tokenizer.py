"""Converts texts to the token ids that a text tower takes."""

import hashlib
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as _Tokenizer

from framematch.core.errors import ModelError
from framematch.vision.model_files import COPY_AGAIN_HINT, require_no_lfs_pointer

PaddingSide = Literal["left", "right"]
Cleaning = Literal["none", "whitespace", "lower", "canonicalize"]

_FIT_HINT = "Copy tokenizer.json, tokenizer_config.json and config.json from one export"
_NO_PUNCTUATION = str.maketrans({"_": " ", **dict.fromkeys(string.punctuation.replace("_", ""))})


@dataclass(frozen=True)
class TokenizerSettings:
    """How a text tower wants its texts, beside its tokenizer.json. `context_length` is in tokens."""

    context_length: int
    pad_token_id: int
    eos_token_id: int | None = None
    padding_side: PaddingSide = "right"
    masks_padding: bool = True
    cleaning: Cleaning = "none"


class Tokenizer:
    """The bundle's own tokenizer, which truncates and pads to the model's context length.

    A truncated text keeps its end token, because most models read the embedding there. `highest_id` is the highest id
    that a text can contain. Of the special tokens only those that every text gets count.
    """

    @classmethod
    def read(cls, file: Path, settings: TokenizerSettings) -> Self:
        """Read tokenizer.json at `file`.

        Raises:
            ModelError: the file is missing, is not a tokenizer, or lacks the special tokens.
        """
        try:
            require_no_lfs_pointer(file)
            content = file.read_bytes()
        except OSError as error:
            raise ModelError(f"{file} is not a usable tokenizer: {error}", hint=COPY_AGAIN_HINT) from error
        return cls(content, settings, source=str(file))

    def __init__(self, content: bytes, settings: TokenizerSettings, *, source: str) -> None:
        """`content` is a tokenizer.json; errors name it `source`.

        Raises:
            ModelError: it is not a tokenizer, or lacks the special tokens.
        """
        try:
            self._tokenizer = _Tokenizer.from_buffer(content)
        except ValueError as error:
            raise ModelError(f"{source} is not a usable tokenizer: {error}", hint=COPY_AGAIN_HINT) from error
        self.digest = hashlib.sha256(content).hexdigest()
        self.settings = settings
        self._clean = _CLEANINGS[settings.cleaning]
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        special: list[int] = self._tokenizer.encode("").ids
        for role, token_id in {"pad": settings.pad_token_id, "end": settings.eos_token_id}.items():
            if token_id is not None and self._tokenizer.id_to_token(token_id) is None:
                raise ModelError(f"{source} has no token {token_id}, which is the {role} token", hint=_FIT_HINT)
        _require_special_tokens(source, special, settings)
        self.highest_id = max(settings.pad_token_id, *special, *_word_ids(self._tokenizer))
        self._tokenizer.enable_truncation(settings.context_length)
        self._tokenizer.enable_padding(
            length=settings.context_length,
            pad_id=settings.pad_token_id,
            pad_token=self._tokenizer.id_to_token(settings.pad_token_id),
            direction=settings.padding_side,
        )

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, both int64 [N, context_length].

        The mask is 1 for tokens and 0 for padding. It is 1 everywhere for a model that was trained to see the padding.
        """
        encodings = self._tokenizer.encode_batch([self._clean(text) for text in texts])
        shape = (len(encodings), self.settings.context_length)
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64).reshape(shape)
        if not self.settings.masks_padding:
            return ids, np.ones_like(ids)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64).reshape(shape)
        return ids, mask


def _require_special_tokens(source: str, special: Sequence[int], settings: TokenizerSettings) -> None:
    """Check `special`, the tokens of an empty text, which every text gets."""
    end = settings.eos_token_id
    if end is not None and (not special or special[-1] != end):
        found = f"ends texts with token {special[-1]}" if special else "marks no end of a text"
        raise ModelError(f"{source} {found}; the model's end token is {end}", hint=_FIT_HINT)
    if len(special) >= settings.context_length:
        raise ModelError(
            f"a context length of {settings.context_length} has no space beside the {len(special)} special tokens of "
            f"{source}",
            hint=_FIT_HINT,
        )


def _word_ids(tokenizer: _Tokenizer) -> list[int]:
    """The ids of all tokens but the added ones. T5's tokenizers add a hundred tokens that no model has."""
    added = set(tokenizer.get_added_tokens_decoder())
    return [token_id for token_id in tokenizer.get_vocab().values() if token_id not in added]


def _one_spaced(text: str) -> str:
    return " ".join(text.split())


# OpenCLIP's cleaning of texts, without its repair of broken Unicode and HTML.
_CLEANINGS: Mapping[Cleaning, Callable[[str], str]] = {
    "none": lambda text: text,
    "whitespace": _one_spaced,
    "lower": lambda text: _one_spaced(text).lower(),
    "canonicalize": lambda text: _one_spaced(text.translate(_NO_PUNCTUATION).lower()),
}
