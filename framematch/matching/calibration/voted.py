"""The votes of labelled pictures that belong together: what calibrates sightings. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from framematch.catalog.snapshots.calibration import CurvePoint
from framematch.core.arrays import Embeddings
from framematch.matching.calibration.samples import SampleScores, ScoredSample
from framematch.matching.calibration.sightings import SightingVotes
from framematch.matching.decision import Candidate, Thresholds, decide
from framematch.matching.votes import MIN_EVIDENCE, Ballot, VoteRules, evidence_curve, novelty_of, votes_of

START_FRAMES: Final = 2
"""As many pictures of a group make a sighting."""


def sighting_votes(
    scores: SampleScores, embeddings: Embeddings, thresholds: Thresholds, curve: Sequence[CurvePoint]
) -> list[SightingVotes]:
    """The votes of each group of pictures, and of the same group with its product left out of the search.

    The first `len(embeddings)` samples are those of `embeddings`, in this order, which is that of their frames; others
    belong to no sighting. `curve` is that of the calibration.
    """
    rules = VoteRules(thresholds.margin, 0.0, 0.0, evidence_curve(curve))
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, sample in enumerate(scores.samples[: len(embeddings)]):
        label = sample.label
        groups.setdefault((label.kind, label.product_id or "", label.group), []).append(row)
    votes: list[SightingVotes] = []
    for rows in groups.values():
        if len(rows) >= START_FRAMES:
            samples = [scores.samples[row] for row in rows]
            votes += _votes(samples, _novelties(embeddings[rows]), thresholds, rules)
    return votes


def _votes(
    samples: Sequence[ScoredSample], novelties: Sequence[float], thresholds: Thresholds, rules: VoteRules
) -> list[SightingVotes]:
    found = _ballots([sample.candidates for sample in samples], novelties, thresholds)
    shows = samples[0].shows
    if not shows:
        return [_impostor(found, rules)]
    tally = votes_of(found, rules, START_FRAMES).tally
    right = max((evidence for product, evidence in tally.evidence if product in shows), default=-np.inf)
    siblings = _ballots([sample.siblings for sample in samples], novelties, thresholds)
    return [SightingVotes(tally.leading_evidence, float(right)), _impostor(siblings, rules)]


def _impostor(ballots: Sequence[Ballot], rules: VoteRules) -> SightingVotes:
    """Without a match it has the least evidence that there is: thresholds are finite."""
    return SightingVotes(max(votes_of(ballots, rules, START_FRAMES).peak, MIN_EVIDENCE))


def _ballots(
    found: Sequence[tuple[Candidate, ...]], novelties: Sequence[float], thresholds: Thresholds
) -> list[Ballot]:
    return [ballot_of(candidates, novelty, thresholds) for candidates, novelty in zip(found, novelties, strict=True)]


def ballot_of(candidates: Sequence[Candidate], novelty: float, thresholds: Thresholds) -> Ballot:
    """What a picture says whose search found these candidates."""
    decision = decide(candidates, thresholds)
    matched = decision.candidates[0].product_id if decision.kind == "match" else None
    pairs = tuple((one.product_id, one.score) for one in decision.candidates)
    return Ballot(pairs, thresholds.match_for(candidates), matched, novelty=novelty)


def _novelties(embeddings: Embeddings) -> list[float]:
    """What each picture shows that the one before does not."""
    cosines = np.einsum("nd,nd->n", embeddings[1:], embeddings[:-1]).tolist()
    return [1.0, *map(novelty_of, cosines)]
