"""Chooses, among the labelled pictures that show nothing, those that a snapshot recognises an empty scene by."""

import hashlib
from typing import Final

import numpy as np

from framematch.catalog.samples.embedder import SampleEmbedder
from framematch.catalog.samples.sample import Sample
from framematch.core.arrays import Embeddings

MAX_NOTHING_ROWS: Final = 500
"""Each search compares with all of them, so more would make it slower."""
_SAME = 0.999  # practically one picture


def is_nothing_row(sample: Sample) -> bool:
    """Whether a snapshot recognises an empty scene by this picture; about half of all groups.

    The other groups are left for calibration: a rate would mean nothing if it were measured with the same pictures.
    """
    return sample.label == "nothing" and hashlib.sha256(sample.group.encode()).digest()[0] % 2 == 0


async def nothing_rows(embedder: SampleEmbedder) -> Embeddings:
    """The embeddings of these pictures, float32 [N, D]; of too many the most different ones.

    Raises:
        EmbeddingError: the model returned something that is no embedding.
        UnavailableError: MongoDB or Triton became unavailable.
    """
    samples = [sample async for sample in embedder.store.read(label="nothing") if is_nothing_row(sample)]
    return most_different((await embedder.embed(samples)).embeddings, MAX_NOTHING_ROWS)


def most_different(embeddings: Embeddings, limit: int) -> Embeddings:
    """Up to `limit` rows of [N, D], each the one that is least similar to those before; no row twice."""
    chosen: list[int] = []
    nearest = np.full(len(embeddings), -np.inf, np.float32)
    while len(chosen) < limit and len(embeddings) and nearest.min() < _SAME:
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, embeddings @ embeddings[chosen[-1]])
    return embeddings[chosen]
