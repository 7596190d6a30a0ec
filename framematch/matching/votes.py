"""The votes of frames for products: what they say together of the thing that they show, and when that suffices. No I/O.

A frame gives each product evidence that it is the one in view. Evidence is in units of a log likelihood ratio, and
limited, so that no frame decides alone. A frame weighs less when its picture is bad, or the same as the one before.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final, Self

from framematch.catalog.snapshots.calibration import Calibration, CurvePoint
from framematch.matching.decision import MIN_LEAD

FRAME_EVIDENCE: Final = 3.0
"""The most that one frame says for or against a product: a likelihood ratio of 20."""
MAX_EVIDENCE: Final = 4 * FRAME_EVIDENCE
"""More is not counted: a thing that was in view for hours can change within seconds."""
MIN_EVIDENCE: Final = -FRAME_EVIDENCE
CHANGE_FRAMES: Final = 3.0
"""The weight of frames in a row in which another product must lead before the decision changes."""
MAX_PRODUCTS: Final = 8

# Without a calibration one clear match is enough evidence; `start_frames` matches are demanded besides. Both are a
# little less than 1, the evidence of a similarity and a lead that are just enough: those of events are rounded.
_PLAIN_EVIDENCE = 0.9
_PLAIN_LEAD = 0.9
_MIN_SPREAD = 0.02  # of a similarity; a smaller margin is no measure of how similarities vary
_LEAST_SHARE = 1e-3  # of a calibration's pictures: about one of them
_CLEAR_QUALITY = 0.5
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

    `matched` is the product of a match; None for any other decision. `weight` is from 0 to 1 (`frame_weight`).
    """

    scores: Sequence[tuple[str, float]]
    threshold: float
    matched: str | None
    weight: float = 1.0


def frame_weight(quality: float | None, similarity: float | None) -> float:
    """What a frame weighs, by its picture's quality and its cosine to the one before; None where it is not known.

    A picture that is the same as the one before says nothing new.
    """
    clear = 1.0 if quality is None else min(1.0, max(0.0, quality) / _CLEAR_QUALITY)
    repeated = 0.0 if similarity is None else max(0.0, similarity - _SAME_PICTURE) / (1.0 - _SAME_PICTURE)
    return clear * (1.0 - min(1.0, repeated))


@dataclass(frozen=True)
class Tally:
    """The votes for one thing, after some frames. All numbers are rounded, so that they can be published and restored.

    `evidence` is by product, best first, without those that have the least possible. `frames` counts those that
    matched, `weight` is that of all. `product` is the one that leads, or led when it was `decided`. `challenge` is the
    weight of the last frames in a row in which another one led since.
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
        counted = replace(
            self,
            evidence=self._counted(ballot, rules),
            weight=self._weight_with(ballot),
            frames=self.frames + (ballot.matched is not None),
        )
        enough = counted.leading_evidence >= rules.evidence and round(counted.lead, _DIGITS) >= rules.lead
        leads_by_match = ballot.matched is not None and ballot.matched == counted.leader
        if not self.decided:
            product = ballot.matched if self.product is None or leads_by_match else self.product
            ready = start_frames is not None and counted.frames >= start_frames
            return replace(counted, product=product, decided=ready and enough and leads_by_match)
        if counted.leader == self.product:
            return replace(counted, challenge=0.0)
        challenge = round(ballot.weight + (self.challenge if counted.leader == self.leader else 0.0), _DIGITS)
        if enough and leads_by_match and challenge >= CHANGE_FRAMES:
            return replace(counted, product=ballot.matched, challenge=0.0)
        return replace(counted, challenge=challenge)

    def _counted(self, ballot: Ballot, rules: VoteRules) -> tuple[tuple[str, float], ...]:
        if not ballot.scores:
            return self.evidence
        said = _said(ballot, rules)
        before = dict(self.evidence)
        sums = {
            product: before.get(product, self._least) + ballot.weight * said.get(product, -FRAME_EVIDENCE)
            for product in (*before, *(product for product in said if product not in before))
        }
        least = _least_of(self._weight_with(ballot))
        rounded = ((product, min(MAX_EVIDENCE, round(total, _DIGITS))) for product, total in sums.items())
        found = sorted((item for item in rounded if item[1] > least), key=lambda item: (-item[1], item[0]))
        return tuple(found[:MAX_PRODUCTS])

    def _weight_with(self, ballot: Ballot) -> float:
        return round(self.weight + ballot.weight, _DIGITS)


def _said(ballot: Ballot, rules: VoteRules) -> Mapping[str, float]:
    """The evidence that a frame gives each product that it names; it says the least for all others."""
    best = ballot.scores[0][1]
    most = rules.evidence_of(best, ballot.threshold)
    return {
        product: _limited(
            min(rules.evidence_of(score, ballot.threshold), most - rules.deficit(best, score)), FRAME_EVIDENCE
        )
        for product, score in ballot.scores
    }


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
