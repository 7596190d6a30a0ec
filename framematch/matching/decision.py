"""Decides from the similarities of the nearest products: a match, an ambiguous picture, or an unknown product."""

from collections.abc import Sequence
from dataclasses import dataclass

from framematch.core.events import DecisionKind


@dataclass(frozen=True)
class Candidate:
    """A product and the cosine similarity of its nearest view."""

    product_id: str
    score: float


@dataclass(frozen=True)
class Thresholds:
    """The minimum similarity of a match, and its minimum margin over the second product."""

    match: float
    margin: float


@dataclass(frozen=True)
class Decision:
    """What a picture shows.

    `candidates` are best first. `score` is the first one's similarity, None without candidates. `margin` is its lead
    over the second one, None without a second product.
    """

    kind: DecisionKind
    score: float | None
    margin: float | None
    candidates: tuple[Candidate, ...]


def decide(candidates: Sequence[Candidate], thresholds: Thresholds) -> Decision:
    """Unknown below `match`; ambiguous when the margin is below `margin`; else a match.

    `candidates` are one for each product, best first. A score or margin that equals its threshold is enough.
    """
    score = candidates[0].score if candidates else None
    margin = candidates[0].score - candidates[1].score if len(candidates) > 1 else None
    return Decision(_kind(score, margin, thresholds), score, margin, tuple(candidates))


def _kind(score: float | None, margin: float | None, thresholds: Thresholds) -> DecisionKind:
    if score is None or not score >= thresholds.match:  # not "<", so that NaN is no match
        return "unknown"
    if margin is not None and margin < thresholds.margin:
        return "ambiguous"
    return "match"
