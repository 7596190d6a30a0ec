"""Reads a file of reference embeddings, which another program computed, usually the transformers library.

    {"images": {"a.jpg": {"embedding": [...]}},
     "texts": {"a jar of honey": {"embedding": [...], "input_ids": [...]}}}

`input_ids` is optional; other keys are allowed. By default pictures are in the folder `images/` beside the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from framematch.core.errors import ModelError

_SHAPE_HINT = (
    'It must be JSON like {"images": {"a.jpg": {"embedding": [...]}}, "texts": {"a text": {"embedding": [...]}}}'
)


@dataclass(frozen=True)
class ReferencePicture:
    """The embedding of one picture."""

    embedding: list[float]


@dataclass(frozen=True)
class ReferenceText:
    """The embedding of one text and, if the file has them, its token ids including the padding."""

    embedding: list[float]
    input_ids: list[int] | None = None


@dataclass(frozen=True)
class Reference:
    """Embeddings by the picture's file name, and by text. All have the same dimension."""

    images: Mapping[str, ReferencePicture] = field(default_factory=dict)
    texts: Mapping[str, ReferenceText] = field(default_factory=dict)

    @property
    def embeddings(self) -> list[tuple[str, list[float]]]:
        """All embeddings, each with the picture's name or the text."""
        pictures = [(name, item.embedding) for name, item in self.images.items()]
        return pictures + [(text, item.embedding) for text, item in self.texts.items()]

    @property
    def dimension(self) -> int:
        """The dimension of every embedding."""
        return len(self.embeddings[0][1])

    @property
    def token_ids(self) -> dict[str, Sequence[int]]:
        """The token ids of the texts that have them."""
        return {text: item.input_ids for text, item in self.texts.items() if item.input_ids is not None}


def rows_of(items: Iterable[ReferencePicture | ReferenceText]) -> npt.NDArray[np.float64]:
    """The embeddings of `items`, [N, D]."""
    return np.array([item.embedding for item in items], np.float64)


def read_reference(file: Path) -> Reference:
    """Read and check `file`.

    Raises:
        ModelError: it is missing, malformed or empty, or has an invalid embedding.
    """
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Reference)
    except OSError as error:
        raise ModelError(f"cannot read the reference embeddings: {error}", hint="Check the path") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{file} has no reference embeddings: {error}", hint=_SHAPE_HINT) from error
    if not found.embeddings:
        raise ModelError(f"{file} has no reference embeddings", hint=_SHAPE_HINT)
    for name, embedding in found.embeddings:
        _require_embedding(file, name, embedding, found.dimension)
    return found


def _require_embedding(file: Path, name: str, embedding: Sequence[float], dimension: int) -> None:
    if len(embedding) != dimension:
        problem = f"has {len(embedding)} numbers, and others have {dimension}"
    elif not any(embedding):
        problem = "is zero, which has no direction"
    else:
        return
    raise ModelError(f"{file}: the embedding of {name!r} {problem}", hint="Write the file again")
