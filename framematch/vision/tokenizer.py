"""Converts texts to the token ids that `clip_text` takes."""

import hashlib
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as _Tokenizer

from framematch.core.errors import ModelError
from framematch.vision.model_files import COPY_AGAIN_HINT, require_no_lfs_pointer

PaddingSide = Literal["left", "right"]

_FIT_HINT = "Copy tokenizer.json, tokenizer_config.json and config.json from one export"
_NO_PUNCTUATION = str.maketrans({"_": " ", **dict.fromkeys(string.punctuation.replace("_", ""))})


class Tokenizer:
    """The bundle's own tokenizer, which truncates and pads to the model's context length.

    A truncated text keeps its end token, because most models read the embedding there. `highest_id` is the highest id
    that a text can contain. Of the special tokens only those that every text gets count.
    """

    def __init__(
        self,
        file: Path,
        *,
        context_length: int,
        pad_token_id: int,
        eos_token_id: int | None = None,
        padding_side: PaddingSide = "right",
        masks_padding: bool = True,
        cleaning: str = "none",
    ) -> None:
        """Read tokenizer.json at `file`.

        Raises:
            ModelError: the file is missing, is not a tokenizer, or lacks the special tokens.
        """
        try:
            require_no_lfs_pointer(file)
            content = file.read_bytes()
            self._tokenizer = _Tokenizer.from_buffer(content)
        except (OSError, ValueError) as error:
            raise ModelError(f"{file} is not a usable tokenizer: {error}", hint=COPY_AGAIN_HINT) from error
        self.digest = hashlib.sha256(content).hexdigest()
        self.pad_token_id = pad_token_id
        self._context_length = context_length
        self._masks_padding = masks_padding
        self._clean = _CLEANINGS[cleaning]
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        special: list[int] = self._tokenizer.encode("").ids
        for role, token_id in {"pad": pad_token_id, "end": eos_token_id}.items():
            if token_id is not None and self._tokenizer.id_to_token(token_id) is None:
                raise ModelError(f"{file} has no token {token_id}, which is the {role} token", hint=_FIT_HINT)
        _require_special_tokens(file, special, eos_token_id, context_length)
        self.highest_id = max(pad_token_id, *special, *_word_ids(self._tokenizer))
        pad_token = self._tokenizer.id_to_token(pad_token_id)
        self._tokenizer.enable_truncation(context_length)
        self._tokenizer.enable_padding(
            length=context_length, pad_id=pad_token_id, pad_token=pad_token, direction=padding_side
        )

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, both int64 [N, context_length].

        The mask is 1 for tokens and 0 for padding. It is 1 everywhere for a model that was trained to see the padding.
        """
        encodings = self._tokenizer.encode_batch([self._clean(text) for text in texts])
        shape = (len(encodings), self._context_length)
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64).reshape(shape)
        if not self._masks_padding:
            return ids, np.ones_like(ids)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64).reshape(shape)
        return ids, mask


def _require_special_tokens(file: Path, special: Sequence[int], end: int | None, context_length: int) -> None:
    """Check `special`, the tokens of an empty text, which every text gets."""
    if end is not None and (not special or special[-1] != end):
        found = f"ends texts with token {special[-1]}" if special else "marks no end of a text"
        raise ModelError(f"{file} {found}; the model's end token is {end}", hint=_FIT_HINT)
    if len(special) >= context_length:
        raise ModelError(
            f"a context length of {context_length} has no space beside the {len(special)} special tokens of {file}",
            hint=_FIT_HINT,
        )


def _word_ids(tokenizer: _Tokenizer) -> list[int]:
    """The ids of all tokens but the added ones. T5's tokenizers add a hundred tokens that no model has."""
    added = set(tokenizer.get_added_tokens_decoder())
    return [token_id for token_id in tokenizer.get_vocab().values() if token_id not in added]


def _one_spaced(text: str) -> str:
    return " ".join(text.split())


# OpenCLIP's cleaning of texts, without its repair of broken Unicode and HTML.
_CLEANINGS: Mapping[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "whitespace": _one_spaced,
    "lower": lambda text: _one_spaced(text).lower(),
    "canonicalize": lambda text: _one_spaced(text.translate(_NO_PUNCTUATION).lower()),
}
