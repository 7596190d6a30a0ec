"""Recognises a scene without a product: it is more similar to pictures that show nothing than to any product."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from framematch.core.arrays import Embeddings
from framematch.matching.decision import Candidate, Decision, Thresholds, decide


def nothing_similarity(embeddings: Embeddings, nothing: Embeddings) -> NDArray[np.float32]:
    """The highest similarity of each row of [N, D] to one of `nothing`, [M, D]; -inf without any."""
    if not len(nothing):
        return np.full(len(embeddings), -np.inf, np.float32)
    return np.asarray((embeddings @ nothing.T).max(axis=1), np.float32)


def unless_empty(candidates: tuple[Candidate, ...], nothing: float) -> tuple[Candidate, ...]:
    """The candidates; none when a picture that shows nothing is at least as similar as the best."""
    return () if candidates and nothing >= candidates[0].score else candidates


def decide_unless_empty(
    candidates: Sequence[Candidate], nothing: float, thresholds: Thresholds, top_k: int
) -> Decision:
    """As `decide`, but unknown when a picture that shows nothing is at least as similar as the best product."""
    if not candidates or not nothing >= candidates[0].score:  # not "<", so that NaN decides nothing
        return decide(candidates, thresholds, top_k)
    best = candidates[0].score
    margin = best - candidates[1].score if len(candidates) > 1 else None
    return Decision("unknown", best, margin, tuple(candidates[:top_k]), "empty")
