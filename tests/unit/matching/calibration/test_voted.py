"""The votes of pictures that belong together."""

import math

import numpy as np
import pytest

from framematch.catalog.snapshots.calibration import CurvePoint
from framematch.core.arrays import Embeddings
from framematch.matching.calibration.samples import SampleKind, SampleLabel, SampleScores, ScoredSample
from framematch.matching.calibration.voted import sighting_votes
from framematch.matching.decision import Candidate, Thresholds
from framematch.matching.votes import MIN_EVIDENCE

THRESHOLDS = Thresholds(0.5, 0.1)
CURVE = tuple(CurvePoint(score, 1 - score, score**2) for score in (0.1, 0.3, 0.5, 0.7, 0.9))


def sample(kind: SampleKind, group: str, *scores: float) -> ScoredSample:
    """A picture whose product is `a`, if it has one; the products a, b, … have these scores."""
    candidates = tuple(Candidate(name, score) for name, score in zip("abcd", scores, strict=False))
    ordered = tuple(sorted(candidates, key=lambda one: -one.score))
    if kind != "product":
        return ScoredSample(SampleLabel(kind, group), ordered)
    others = tuple(one for one in ordered if one.product_id != "a")
    return ScoredSample(SampleLabel(kind, group, "a"), ordered, frozenset({"a"}), others)


def different(count: int) -> Embeddings:
    """Pictures that have nothing in common."""
    return np.eye(count, dtype=np.float32)


def votes(*samples: ScoredSample, embeddings: Embeddings | None = None) -> list[tuple[float, float | None]]:
    scored = SampleScores(samples, products=4)
    rows = different(len(samples)) if embeddings is None else embeddings
    return [(one.first, one.right) for one in sighting_votes(scored, rows, THRESHOLDS, CURVE)]


def test_a_group_of_a_product_votes_for_it_and_without_it_as_an_impostor() -> None:
    known, impostor = votes(*[sample("product", "visit", 0.9, 0.2)] * 3)
    assert known[0] > 0
    assert known[1] == known[0]
    assert impostor == (MIN_EVIDENCE, None)


def test_more_pictures_give_more_evidence_but_not_when_they_are_the_same() -> None:
    two, three = (votes(*[sample("stranger", "visit", 0.9, 0.2)] * count)[0][0] for count in (2, 3))
    assert two < three
    same = np.ones((3, 1), np.float32)
    assert votes(*[sample("stranger", "visit", 0.9, 0.2)] * 3, embeddings=same)[0][0] < two


def test_a_product_that_gets_no_vote_is_as_far_behind_as_can_be() -> None:
    wrong = sample("product", "visit", 0.1, 0.95)
    (first, right), _ = votes(*[wrong] * 4)
    assert first > 0
    assert right == pytest.approx(-math.inf) or (right is not None and right < first)


def test_single_pictures_and_held_out_views_are_no_sightings() -> None:
    assert votes(sample("product", "one", 0.9), sample("product", "other", 0.9)) == []
    pair = [sample("product", "visit", 0.9, 0.2)] * 2
    assert votes(*pair, embeddings=different(2)[:1]) == []
