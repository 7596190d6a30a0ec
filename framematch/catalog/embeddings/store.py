"""Keeps the embeddings of the catalogue's pictures, so that a build embeds only what is new."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from bson.binary import Binary
from pymongo import ReplaceOne

from framematch.catalog.mongo import Database, mongo_errors
from framematch.core.arrays import Embeddings, invalid_rows

_VALUE_BYTES = 4
_OVERHEAD_BYTES = 300  # of a document: its id has 195 characters
# The local stack's server sends all documents of a query in one reply, and a driver takes up to 48 MB. It also compares
# each document that it found with all ids of the query: 6,000 took 7.3 s in one query, and 2.5 s in 24.
IDS_PER_QUERY: Final = 250
_REPLY_BYTES = 4_000_000


@dataclass(frozen=True)
class EmbeddingSpace:
    """What makes embeddings comparable: a model and a preprocessing, by their digests; and the number of values."""

    model_digest: str
    preprocessing_digest: str
    dimension: int

    @property
    def key(self) -> str:
        """The space's part of an id."""
        return f"{self.model_digest}/{self.preprocessing_digest}"


class EmbeddingStore:
    """The embeddings of one space in the collection `embeddings`, by the SHA-256 of their pictures.

    Whatever is no finite unit vector of the right length counts as missing, and is replaced when it is written again.
    """

    def __init__(self, database: Database, space: EmbeddingSpace) -> None:
        self._embeddings = database.embeddings
        self._space = space
        self._batch = min(IDS_PER_QUERY, max(1, _REPLY_BYTES // (space.dimension * _VALUE_BYTES + _OVERHEAD_BYTES)))

    async def read(self, images: Sequence[str]) -> AsyncIterator[tuple[list[int], Embeddings]]:
        """The kept embeddings of `images`, in batches: which of them, by number, and float32 [N, D]."""
        for start in range(0, len(images), self._batch):
            ids = {self._id(image): start + n for n, image in enumerate(images[start : start + self._batch])}
            with mongo_errors("reading embeddings"):
                documents = await self._embeddings.find({"_id": {"$in": list(ids)}}).to_list()
            kept = [document for document in documents if self._has_right_length(document.get("vector"))]
            if not kept:
                continue
            vectors = np.stack([np.frombuffer(document["vector"], "<f4") for document in kept])
            valid = np.setdiff1d(np.arange(len(kept)), invalid_rows(vectors))
            yield [ids[kept[n]["_id"]] for n in valid], vectors[valid]

    async def write(self, images: Sequence[str], embeddings: Embeddings) -> None:
        """Keep the embeddings of these pictures, float32 [N, D]."""
        writes = [
            ReplaceOne({"_id": self._id(image)}, {"vector": Binary(row.astype("<f4").tobytes())}, upsert=True)
            for image, row in zip(images, embeddings, strict=True)
        ]
        with mongo_errors("keeping embeddings"):
            await self._embeddings.bulk_write(writes, ordered=False)

    def _id(self, image: str) -> str:
        return f"{self._space.key}/{image}"

    def _has_right_length(self, value: Any) -> bool:
        return isinstance(value, bytes) and len(value) == self._space.dimension * _VALUE_BYTES
