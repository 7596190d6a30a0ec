"""Decides from the similarities of the nearest products: a match, an ambiguous picture, or an unknown product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from framematch.core.events import DecisionKind, DecisionReason

# A smaller lead is noise. The same two pictures have similarities that differ by up to 3e-8 when they are searched in
# batches of other sizes, and by up to 8e-4 when one is embedded in single and one in half precision (the demo's model).
MIN_LEAD: Final = 1e-3
MAX_PLAUSIBLE: Final = 20
"""The most products that an ambiguous decision lists as plausible."""


@dataclass(frozen=True)
class Candidate:
    """A product and the cosine similarity of its nearest view."""

    product_id: str
    score: float


@dataclass(frozen=True)
class Thresholds:
    """The minimum similarity of a match, and its minimum margin over the second product.

    `match_of` has the products whose minimum similarity is another one, by their category.
    """

    match: float
    margin: float
    match_of: Mapping[str, float] = field(default_factory=dict)

    @property
    def lowest_match(self) -> float:
        """No product with a lower similarity matches."""
        return min(self.match, *self.match_of.values()) if self.match_of else self.match

    def match_for(self, candidates: Sequence[Candidate]) -> float:
        """The minimum similarity of the first candidate."""
        return self.match_of.get(candidates[0].product_id, self.match) if candidates else self.match


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


def decide(candidates: Sequence[Candidate], thresholds: Thresholds, top_k: int | None = None) -> Decision:
    """Unknown below the minimum similarity; a match without another plausible product; else ambiguous.

    Plausible are products that are less than `margin` behind the first one, so a margin that equals its threshold is
    enough, as a score that does is. Two products that are equally similar are never a match, whatever the thresholds
    (`MIN_LEAD`). A single candidate needs no margin: it is the only product of the catalogue.

    `candidates` are one for each product, best first. The decision keeps the first `top_k` of them, or all, and those
    that are plausible in any case, up to `MAX_PLAUSIBLE`.
    """
    score = candidates[0].score if candidates else None
    margin = candidates[0].score - candidates[1].score if len(candidates) > 1 else None
    kind, reason = _judge(score, margin, thresholds.match_for(candidates), thresholds.margin)
    plausible = 0 if kind == "unknown" else _plausible(candidates, thresholds.margin)
    kept = len(candidates) if top_k is None else max(top_k, plausible)
    return Decision(kind, score, margin, tuple(candidates[:kept]), reason, plausible)


def _judge(
    score: float | None, margin: float | None, min_score: float, min_margin: float
) -> tuple[DecisionKind, DecisionReason | None]:
    if score is None or not score >= min_score:  # not "<", so that NaN is no match
        return "unknown", "below_threshold"
    if margin is not None and not margin > MIN_LEAD:
        return "ambiguous", "tie"
    if margin is not None and margin < min_margin:
        return "ambiguous", "below_margin"
    return "match", None


def _plausible(candidates: Sequence[Candidate], min_margin: float) -> int:
    for number, candidate in enumerate(candidates[:MAX_PLAUSIBLE]):
        lead = candidates[0].score - candidate.score
        if lead > MIN_LEAD and lead >= min_margin:
            return number
    return min(len(candidates), MAX_PLAUSIBLE)
