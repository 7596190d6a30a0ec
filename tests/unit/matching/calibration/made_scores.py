"""Scores of labelled pictures, made up."""

from collections.abc import Sequence

import numpy as np

from framematch.matching.calibration.samples import SampleKind, SampleLabel, SampleScores, ScoredSample
from framematch.matching.decision import Candidate


def known(
    group: str, right: float, *others: float, product: str = "right", sibling: float | None = None
) -> ScoredSample:
    """A picture of a product, which is this similar; the others are `other0`, `other1`, ..."""
    rest = [Candidate(f"other{number}", score) for number, score in enumerate(others)]
    found = sorted([Candidate(product, right), *rest], key=lambda one: -one.score)
    siblings = tuple(rest) if sibling is None else (Candidate("other0", sibling),)
    return ScoredSample(SampleLabel("product", group, product), tuple(found), frozenset({product}), siblings)


def impostor(group: str, *found: float, kind: SampleKind = "stranger", best: str = "p0") -> ScoredSample:
    """A picture of no product of the catalogue."""
    names = [best, *(f"p{number}" for number in range(1, len(found)))]
    return ScoredSample(SampleLabel(kind, group), tuple(map(Candidate, names, found)))


def many_known(count: int, seed: int = 0) -> list[ScoredSample]:
    """Pictures whose own product is 0.8 similar, the best other 0.5, give or take 0.1."""
    draws = np.random.default_rng(seed).normal([0.8, 0.5], 0.1, (count, 2)).clip(-1, 1).tolist()
    return [known(f"k{number}", *pair) for number, pair in enumerate(draws)]


def many_strangers(count: int, seed: int = 1, kind: SampleKind = "stranger") -> list[ScoredSample]:
    """Pictures without a product, 0.5 similar to the nearest one, give or take 0.1."""
    draws = np.random.default_rng(seed).normal(0.5, 0.1, count).clip(-1, 1).tolist()
    return [impostor(f"s{number}", score, kind=kind) for number, score in enumerate(draws)]


def scores_of(samples: Sequence[ScoredSample], categories: dict[str, str] | None = None) -> SampleScores:
    """The samples of a snapshot with 10 products."""
    return SampleScores(tuple(samples), 10, categories or {})
