"""Texts become the token ids that `clip_text` takes."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as _Tokenizer

from framematch.core.errors import ModelError
from framematch.vision.bundle import Bundle
from framematch.vision.processor_config import COPY_AGAIN_HINT


class Tokenizer:
    """The bundle's own tokenizer, cutting and padding to the model's context length.

    A text that is too long loses its tail but keeps its end token, where CLIP reads the text's embedding.
    """

    def __init__(self, file: Path, *, context_length: int, pad_token_id: int) -> None:
        """Read tokenizer.json at `file`.

        Raises:
            ModelError: the file is missing or not a tokenizer.
        """
        try:
            content = file.read_bytes()
            self._tokenizer = _Tokenizer.from_buffer(content)
        except (OSError, ValueError) as error:
            raise ModelError(f"{file} is not a usable tokenizer: {error}", hint=COPY_AGAIN_HINT) from error
        self.digest = hashlib.sha256(content).hexdigest()
        self.pad_token_id = pad_token_id
        self._tokenizer.enable_truncation(context_length)
        self._tokenizer.enable_padding(length=context_length, pad_id=pad_token_id)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Tokenizer":
        """The tokenizer of a bundle with a text tower.

        Raises:
            ModelError: the bundle has no text tower, or its tokenizer is not usable.
        """
        if bundle.text is None:
            raise ModelError(
                f"the model bundle {bundle.path} is image-only", hint="Texts need a bundle with a text tower"
            )
        text = bundle.text
        return cls(text.tokenizer, context_length=text.context_length, pad_token_id=text.pad_token_id)

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`input_ids` and `attention_mask` (1 on tokens, 0 on padding), both int64 [N, context_length]."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        return ids, mask
