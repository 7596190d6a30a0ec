"""Decides from the similarities of the nearest products: a match, an ambiguous picture, or an unknown product."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from framematch.core.events import DecisionKind, DecisionReason

# A smaller lead is noise. The same two pictures have similarities that differ by up to 3e-8 when they are searched in
# batches of other sizes, and by up to 8e-4 when one is embedded in single and one in half precision (the demo's model).
MIN_LEAD: Final = 1e-3


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
    over the second one, None without a second product. `reason` says why it is no match; None for a match. `plausible`
    counts the leading candidates that may be the product. `quality` is the picture's, from 0 to 1, if it was measured.
    `sketch` is that of its embedding, if a model was asked.
    """

    kind: DecisionKind
    score: float | None
    margin: float | None
    candidates: tuple[Candidate, ...]
    reason: DecisionReason | None = None
    plausible: int = 0
    quality: float | None = None
    sketch: bytes | None = None


NO_CONTENT: Final = Decision("unknown", None, None, (), "no_content")
"""The decision for a picture that shows nothing: it is compared with no product."""


def decide(candidates: Sequence[Candidate], thresholds: Thresholds) -> Decision:
    """Unknown below `match`; ambiguous without a lead, or when the margin is below `margin`; else a match.

    `candidates` are one for each product, best first. A score or margin that equals its threshold is enough. Two
    products that are equally similar are never a match, whatever the thresholds (`MIN_LEAD`). A single candidate needs
    no margin: it is the only product of the catalogue.
    """
    score = candidates[0].score if candidates else None
    margin = candidates[0].score - candidates[1].score if len(candidates) > 1 else None
    kind, reason = _judge(score, margin, thresholds)
    return Decision(kind, score, margin, tuple(candidates), reason)


def _judge(
    score: float | None, margin: float | None, thresholds: Thresholds
) -> tuple[DecisionKind, DecisionReason | None]:
    if score is None or not score >= thresholds.match:  # not "<", so that NaN is no match
        return "unknown", "below_threshold"
    if margin is not None and not margin > MIN_LEAD:
        return "ambiguous", "tie"
    if margin is not None and margin < thresholds.margin:
        return "ambiguous", "below_margin"
    return "match", None
