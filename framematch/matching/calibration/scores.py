"""The numbers that thresholds are made from and judged by: arrays over independent pictures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.snapshots.calibration import ImpostorSource
from framematch.matching.calibration.folds import FOLDS, independent
from framematch.matching.calibration.samples import SampleScores, ScoredSample
from framematch.matching.decision import Candidate

SOURCES: tuple[ImpostorSource, ...] = ("siblings", "unseen", "nothing")

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Impostors:
    """Of each picture the best similarity, -inf without a candidate, the category of that candidate, and its fold."""

    scores: Floats
    categories: NDArray[np.str_]
    folds: Numbers

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of(cls, found: Sequence[tuple[Candidate, ...]], scores: SampleScores, folds: Sequence[int]) -> Self:
        """Those with these candidates."""
        return cls(_best(found), _categories(found, scores), np.asarray(folds, np.int64))

    def where(self, kept: Flags) -> "Impostors":
        """Some of them."""
        return Impostors(self.scores[kept], self.categories[kept], self.folds[kept])


@dataclass(frozen=True)
class Known:
    """Of each picture of a product of the catalogue, as `Impostors`, and how the right product stands.

    `behind` is how much less similar the right product is than the best one: 0 when it is the best, inf when it is not
    among the candidates. `lead` is the best one's lead over the second product, inf without one.
    """

    scores: Floats
    categories: NDArray[np.str_]
    folds: Numbers
    behind: Floats
    lead: Floats

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of(cls, samples: Sequence[ScoredSample], scores: SampleScores, folds: Sequence[int]) -> Self:
        """The pictures of products."""
        found = [sample.candidates for sample in samples]
        behind = np.array([_behind(sample) for sample in samples], np.float64)
        lead = np.array([one[0].score - one[1].score if len(one) > 1 else np.inf for one in found], np.float64)
        return cls(_best(found), _categories(found, scores), np.asarray(folds, np.int64), behind, lead)

    def where(self, kept: Flags) -> "Known":
        """Some of them."""
        return Known(self.scores[kept], self.categories[kept], self.folds[kept], self.behind[kept], self.lead[kept])


@dataclass(frozen=True)
class Pictures:
    """Everything that a calibration computes with."""

    known: Known
    impostors: dict[ImpostorSource, Impostors]

    def in_fold(self, fold: int) -> "Pictures":
        """Those of one fold."""
        return Pictures(
            self.known.where(self.known.folds == fold),
            {source: one.where(one.folds == fold) for source, one in self.impostors.items()},
        )

    def outside(self, fold: int) -> "Pictures":
        """All others."""
        return Pictures(
            self.known.where(self.known.folds != fold),
            {source: one.where(one.folds != fold) for source, one in self.impostors.items()},
        )


def pictures_of(scores: SampleScores) -> Pictures:
    """One picture for each independent unit. A picture of a product is an impostor too, once its product is left out.

    Raises:
        ValueError: a score is not finite.
    """
    for sample in scores.samples:
        if not all(np.isfinite(one.score) for one in (*sample.candidates, *sample.siblings)):
            raise ValueError(f"a picture of {sample.label.kind} in group {sample.label.group!r} has no finite score")
    chosen = independent(scores.samples)
    by_kind = {kind: [one for one in chosen if one.label.kind == kind] for kind in ("product", "stranger", "nothing")}
    folds = {kind: [position % FOLDS for position in range(len(some))] for kind, some in by_kind.items()}
    products = by_kind["product"]
    left_out = [(one.siblings, fold) for one, fold in zip(products, folds["product"], strict=True) if one.siblings]
    impostors: dict[ImpostorSource, Impostors] = {
        "siblings": Impostors.of([one for one, _ in left_out], scores, [fold for _, fold in left_out])
    }
    of_kind: dict[ImpostorSource, str] = {"unseen": "stranger", "nothing": "nothing"}
    for source, kind in of_kind.items():
        impostors[source] = Impostors.of([one.candidates for one in by_kind[kind]], scores, folds[kind])
    return Pictures(Known.of(products, scores, folds["product"]), impostors)


def _best(found: Sequence[tuple[Candidate, ...]]) -> Floats:
    return np.array([one[0].score if one else -np.inf for one in found], np.float64)


def _categories(found: Sequence[tuple[Candidate, ...]], scores: SampleScores) -> NDArray[np.str_]:
    return np.array([scores.categories.get(one[0].product_id, "") if one else "" for one in found], np.str_)


def _behind(sample: ScoredSample) -> float:
    right = [one.score for one in sample.candidates if one.product_id in sample.shows]
    return sample.candidates[0].score - max(right) if right else np.inf
