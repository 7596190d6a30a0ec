"""The votes of frames for products: what they say together of the thing that they show, and when that suffices. No I/O.

A frame gives each product evidence that it is the one in view. Evidence is in units of a log likelihood ratio, and
limited, so that no frame decides alone. A frame weighs less when its picture is bad, or the same as the one before.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Self

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint
from framematch.matching.decision import MIN_LEAD

FRAME_EVIDENCE: Final = 3.0
"""The most that one frame says for or against a product: a likelihood ratio of 20."""
MAX_EVIDENCE: Final = 10 * FRAME_EVIDENCE
"""More is not counted: a thing that was in view for hours can change within seconds. A calibration demands less, as
long as its sightings are not much longer than ten frames."""
MIN_EVIDENCE: Final = -FRAME_EVIDENCE
CHANGE_FRAMES: Final = 3.0
"""In how many clear frames in a row another product must lead before the decision changes."""
MAX_PRODUCTS: Final = 8

# Without a calibration one clear match is enough evidence; `start_frames` matches are demanded besides. Both are a
# little less than 1, the evidence of a similarity and a lead that are just enough: those of events are rounded.
_PLAIN_EVIDENCE = 0.9
_PLAIN_LEAD = 0.9
_MIN_SPREAD = 0.02  # of a similarity; a smaller margin is no measure of how similarities vary
_LEAST_SHARE = 1e-3  # of a calibration's pictures: about one of them
_CLEAR_QUALITY = 0.8  # nearly as many pictures of at least this quality are recognised as of the best
_SAME_PICTURE = 0.95  # the noise of a camera alone gives more
_DIGITS = 3


@dataclass(frozen=True)
class VoteRules:
    """How similarities become evidence, and how much of it decides.

    `curve` are rising similarities and their evidence; without it the evidence is measured from the frame's threshold
    in units of `margin`. A decision needs `evidence` for the leading product, and `lead` more than for the second.
    """

    margin: float
    evidence: float = _PLAIN_EVIDENCE
    lead: float = _PLAIN_LEAD
    curve: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, margin: float, calibration: Calibration | None = None) -> Self:
        """The rules of a snapshot: calibrated ones when its sightings were calibrated, else the plain ones."""
        if calibration is None or calibration.sightings is None:
            return cls(margin)
        demanded = calibration.sightings
        return cls(margin, demanded.evidence, demanded.lead, evidence_curve(calibration.curve))

    def evidence_of(self, score: float, threshold: float) -> float:
        """What a similarity says for the product that has it, within `FRAME_EVIDENCE`; a match says at least 1."""
        if self.curve:
            return _interpolated(self.curve, score)
        above = (score - threshold) / max(self.margin, _MIN_SPREAD)
        return _limited(1.0 + above if above >= 0 else above, FRAME_EVIDENCE)

    def deficit(self, best: float, score: float) -> float:
        """What the lead of a frame's best product says against another: 1 when it is the margin of a match."""
        return (best - score) / max(self.margin, MIN_LEAD)


PLAIN_RULES: Final = VoteRules(margin=0.05)
"""For decisions whose snapshot is not known: a start needs `start_frames` matches."""


def evidence_curve(curve: Sequence[CurvePoint]) -> tuple[tuple[float, float], ...]:
    """Similarities and their evidence, by the shares of known products and of impostors on both sides of each.

    The sum of the log ratios of both sides: positive where reaching the similarity is more usual for known products
    than missing it, 0 where both errors are equal. It never falls. A similarity beyond which there are no pictures says
    what the nearest other one says.
    """
    points = sorted(filter(_has_both_sides, curve), key=lambda point: point.threshold)
    ratios = (
        _log_share(1 - point.refused) - _log_share(point.accepted)
        + _log_share(point.refused) - _log_share(1 - point.accepted)
        for point in points
    )  # fmt: skip
    rising = accumulate((_limited(ratio, FRAME_EVIDENCE) for ratio in ratios), max)
    return tuple((point.threshold, ratio) for point, ratio in zip(points, rising, strict=True))


@dataclass(frozen=True)
class Ballot:
    """What one frame says: similarities of products, best first, and the threshold that they were compared with.

    `matched` is the product of a match; None for any other decision. `clearness` and `novelty` are from 0 to 1.
    """

    scores: Sequence[tuple[str, float]]
    threshold: float
    matched: str | None
    clearness: float = 1.0
    novelty: float = 1.0

    @property
    def weight(self) -> float:
        """What its evidence counts."""
        return self.clearness * self.novelty


def clearness_of(quality: float | None) -> float:
    """What a picture of this quality counts; 1 where it was not measured."""
    return 1.0 if quality is None else min(1.0, max(0.0, quality) / _CLEAR_QUALITY)


def novelty_of(similarity: float | None) -> float:
    """What a picture with this cosine to the one before counts: the same picture says nothing new. 1 without one."""
    if similarity is None or similarity <= _SAME_PICTURE:
        return 1.0
    return (1.0 - min(1.0, similarity)) / (1.0 - _SAME_PICTURE)


@dataclass(frozen=True)
class Tally:
    """The votes for one thing, after some frames. All numbers are rounded, so that they can be published and restored.

    `evidence` is by product, best first, without those that have the least possible. `frames` counts those that
    matched, `weight` is that of all. `product` is the one that leads, or led when it was `decided`. `challenge` counts
    the last clear frames in a row in which another one led since.
    """

    evidence: tuple[tuple[str, float], ...] = ()
    weight: float = 0.0
    frames: int = 0
    product: str | None = None
    challenge: float = 0.0
    decided: bool = False

    @property
    def leader(self) -> str | None:
        """The product with the most evidence; of several the first by id."""
        return self.evidence[0][0] if self.evidence else None

    @property
    def leading_evidence(self) -> float:
        """The most evidence of any product."""
        return self.evidence[0][1] if self.evidence else self._least

    @property
    def lead(self) -> float:
        """How much more evidence the leader has than the second."""
        second = self.evidence[1][1] if len(self.evidence) > 1 else self._least
        return self.leading_evidence - second

    @property
    def runner_up(self) -> str | None:
        """The best product beside the present one; None when there is no evidence for another."""
        return next((product for product, _ in self.evidence if product != self.product), None)

    @property
    def _least(self) -> float:
        """The evidence of a product that no frame named."""
        return _least_of(self.weight)

    def add(self, ballot: Ballot, rules: VoteRules, start_frames: int | None) -> "Tally":
        """The tally after a frame. Only a frame that matches the leading product decides, or changes a decision.

        `start_frames`: how many frames must match before the first decision; None: there may be none yet.
        """
        weight = round(self.weight + ballot.weight, _DIGITS)
        least = _least_of(weight)
        evidence = self._counted(ballot, rules, least)
        leader, most = evidence[0] if evidence else (None, least)
        second = evidence[1][1] if len(evidence) > 1 else least
        frames = self.frames + (ballot.matched is not None)
        wins = (
            ballot.matched is not None
            and ballot.matched == leader
            and most >= rules.evidence
            and round(most - second, _DIGITS) >= rules.lead
        )
        product, challenge, decided = self.product, 0.0, self.decided
        if not decided:
            decided = wins and start_frames is not None and frames >= start_frames
            if ballot.matched is not None and (product is None or ballot.matched == leader):
                product = ballot.matched
        elif leader != product:
            challenge = round(ballot.clearness + (self.challenge if leader == self.leader else 0.0), _DIGITS)
            if wins and challenge >= CHANGE_FRAMES:
                product, challenge = leader, 0.0
        return Tally(evidence, weight, frames, product, challenge, decided)

    def _counted(self, ballot: Ballot, rules: VoteRules, least: float) -> tuple[tuple[str, float], ...]:
        """The evidence after a frame, without the products that have no more than `least`."""
        if not ballot.scores:
            return self.evidence
        before = dict(self.evidence)
        said = _said(ballot, rules)
        unnamed, weight = self._least, ballot.weight
        sums = [(before.pop(product, unnamed) + weight * says, product) for product, says in said.items()]
        sums += [(total - weight * FRAME_EVIDENCE, product) for product, total in before.items()]
        found = [(-min(MAX_EVIDENCE, round(total, _DIGITS)), product) for total, product in sums if total > least]
        found.sort()
        return tuple((product, -negative) for negative, product in found[:MAX_PRODUCTS] if -negative > least)


def _said(ballot: Ballot, rules: VoteRules) -> dict[str, float]:
    """The evidence that a frame gives each product that it names; it says the least for all others."""
    best = ballot.scores[0][1]
    most = rules.evidence_of(best, ballot.threshold)
    said = {}
    for product, score in ballot.scores:
        behind = most - rules.deficit(best, score)
        if behind <= -FRAME_EVIDENCE:
            said[product] = -FRAME_EVIDENCE
        else:
            said[product] = min(behind, rules.evidence_of(score, ballot.threshold))
    return said


@dataclass(frozen=True)
class Verdict:
    """What some frames say of one thing. `product` is None unless they decide.

    `peak` is the highest evidence of any product after any of the frames at which enough of them matched and it had
    the lead that the rules demand: a threshold above it would not have decided. `tally` is that after the last one.
    """

    product: str | None
    peak: float
    tally: Tally


def votes_of(frames: Sequence[Ballot], rules: VoteRules, start_frames: int = 2) -> Verdict:
    """The verdict of the frames of one thing, in their order."""
    tally, peak = Tally(), -math.inf
    for frame in frames:
        tally = tally.add(frame, rules, start_frames)
        if tally.frames >= start_frames and tally.lead >= rules.lead and tally.leader == tally.product:
            peak = max(peak, tally.leading_evidence)
    return Verdict(tally.product if tally.decided else None, peak, tally)


def _least_of(weight: float) -> float:
    """The evidence of a product that no frame named, after frames of this weight."""
    return max(MIN_EVIDENCE, round(MIN_EVIDENCE * weight, _DIGITS))


def _limited(value: float, most: float) -> float:
    return max(-most, min(most, value))


def _has_both_sides(point: CurvePoint) -> bool:
    above, below = max(1 - point.refused, point.accepted), max(point.refused, 1 - point.accepted)
    return min(above, below) >= _LEAST_SHARE


def _log_share(share: float) -> float:
    return math.log(min(1.0, max(_LEAST_SHARE, share)))


def _interpolated(curve: Sequence[tuple[float, float]], score: float) -> float:
    above = bisect_right(curve, score, key=lambda point: point[0])
    if above in (0, len(curve)):
        return curve[max(0, above - 1)][1]
    (left, low), (right, high) = curve[above - 1], curve[above]
    return low + (high - low) * (score - left) / (right - left)
