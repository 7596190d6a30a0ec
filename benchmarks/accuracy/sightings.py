"""What the votes of several frames are worth: sightings of 1, 3, 5 and 10 frames against the decision of one frame.

Each photo is one sighting, of frames that a moving camera would give. Of each photo there is an impostor too: the same
frames, with its own product left out of the search. Thresholds are made from half of the products and judged on the
other half, in both directions, for frames and sightings alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.closed_set import enrolled, share_figure
from benchmarks.accuracy.open_set import calibrated, scored, scored_sample
from benchmarks.accuracy.pictures import FRAMES, VIEWS, EncodedDataset
from benchmarks.accuracy.scores import best_view
from benchmarks.harness import Figure, Results
from framematch.catalog.snapshots.calibration import SightingThresholds
from framematch.core.arrays import Embeddings
from framematch.matching.calibration.options import Calibrated
from framematch.matching.calibration.samples import SampleScores, ScoredSample
from framematch.matching.calibration.sightings import sighting_thresholds
from framematch.matching.calibration.voted import ballot_of, sighting_votes
from framematch.matching.decision import Thresholds
from framematch.matching.votes import Ballot, Verdict, VoteRules, novelty_of, votes_of

_RATE, _MIXUPS = 0.10, 0.05
_LENGTHS = (1, 3, 5, FRAMES)
_HALVES = 2


@dataclass(frozen=True)
class _Outcomes:
    """By photo [N]: whether its product was named, or another one, and whether its impostor was taken for a product."""

    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    accepted: NDArray[np.bool_]

    @classmethod
    def none(cls, photos: int) -> "_Outcomes":
        """All false."""
        return cls(*(np.zeros(photos, np.bool_) for _ in range(3)))

    def judge(self, row: int, product: int, named: str | None, impostor: str | None) -> None:
        """Set what became of one photo."""
        self.right[row] = named == str(product)
        self.wrong[row] = named not in (None, str(product))
        self.accepted[row] = impostor is not None


@dataclass(frozen=True)
class _Sightings:
    """Frames of all photos: the similarity of each to each product [N, F, P], and to the frame before [N, F - 1]."""

    similarity: Embeddings
    repeats: Embeddings
    products: NDArray[np.int64]

    @classmethod
    def of(cls, data: EncodedDataset, views: Embeddings) -> "_Sightings":
        """Those of a data set."""
        similarity = [best_view(data.frames[:, number], views) for number in range(FRAMES)]
        repeats = np.einsum("nfd,nfd->nf", data.frames[:, 1:], data.frames[:, :-1])
        return cls(np.stack(similarity, axis=1), repeats, data.products)

    def ballots(self, row: int, frames: int, thresholds: Thresholds, *, impostor: bool) -> list[Ballot]:
        """What the frames of a photo say; of an impostor, without its own product."""
        found = [self._sample(row, number) for number in range(frames)]
        novelties = [1.0, *map(novelty_of, self.repeats[row, : frames - 1].tolist())]
        return [
            ballot_of(sample.siblings if impostor else sample.candidates, novelty, thresholds)
            for sample, novelty in zip(found, novelties, strict=True)
        ]

    def samples(self, rows: Sequence[int], frames: int) -> SampleScores:
        """The first frames of some photos, each photo a group."""
        found = (self._sample(row, number) for row in rows for number in range(frames))
        return SampleScores(tuple(found), self.similarity.shape[2])

    def _sample(self, row: int, number: int) -> ScoredSample:
        every = list(range(self.similarity.shape[2]))
        return scored_sample(
            "product", f"photo {row}", self.similarity[row, number], every, product=int(self.products[row])
        )


def measure(data: EncodedDataset) -> Results:
    """Answers, mix-ups and accepted impostors at a stated rate of 10 %, by the number of frames."""
    found = Results()
    views = enrolled(data, VIEWS)
    seen = _Sightings.of(data, views)
    one_frame = _Outcomes.none(len(data.products))
    sightings = {length: _Outcomes.none(len(data.products)) for length in _LENGTHS}
    for half in range(_HALVES):
        judged = data.products % _HALVES == half
        others = scored(data.frames[~judged, 0], data.products[~judged], views, list(range(len(views))))
        answer = calibrated(others, data.categories, _RATE)
        if answer is None:
            found.missing["sightings"] = "there are too few photos to state the rate"
            return found
        thresholds = Thresholds(answer.thresholds.match, answer.thresholds.margin)
        for row in np.flatnonzero(judged).tolist():
            named = (seen.ballots(row, 1, thresholds, impostor=impostor)[0].matched for impostor in (False, True))
            one_frame.judge(row, int(seen.products[row]), *named)
        for length, outcomes in sightings.items():
            rules = _rules(data, seen, np.flatnonzero(~judged).tolist(), length, answer)
            for row in np.flatnonzero(judged).tolist():
                verdicts = (_vote(seen, row, length, thresholds, rules, impostor=one) for one in (False, True))
                outcomes.judge(row, int(seen.products[row]), *(verdict.product for verdict in verdicts))
    _add(found, "one frame", one_frame, data.products)
    for length, outcomes in sightings.items():
        _add(found, f"sighting of {length}", outcomes, data.products)
    name = f"right by a sighting of {FRAMES} - right by one frame"
    gain = share_figure(sightings[FRAMES].right.astype(float) - one_frame.right, data.products, "gain")
    found.figures[name] = gain
    found.figures[f"{name}, low end"] = Figure.of([gain.low], "gain")
    found.at_least[f"{name}, low end"] = 0.0
    return found


def _rules(data: EncodedDataset, seen: _Sightings, rows: Sequence[int], length: int, answer: Calibrated) -> VoteRules:
    """How much evidence sightings of these photos demand, for the stated rates."""
    thresholds = Thresholds(answer.thresholds.match, answer.thresholds.margin)
    embeddings = data.frames[rows, :length].reshape(len(rows) * length, -1)
    votes = sighting_votes(seen.samples(rows, length), embeddings, thresholds, answer.calibration.curve)
    demanded = sighting_thresholds(votes, rate=_RATE, mixup_rate=_MIXUPS)
    if not isinstance(demanded, SightingThresholds):  # of one frame each
        return VoteRules.of(answer.thresholds.margin)
    return VoteRules.of(answer.thresholds.margin, replace(answer.calibration, sightings=demanded))


def _vote(
    seen: _Sightings, row: int, length: int, thresholds: Thresholds, rules: VoteRules, *, impostor: bool
) -> Verdict:
    return votes_of(seen.ballots(row, length, thresholds, impostor=impostor), rules, min(2, length))


def _add(found: Results, name: str, outcomes: _Outcomes, products: NDArray[np.int64]) -> None:
    for what in ("right", "wrong", "accepted"):
        label = "impostors accepted" if what == "accepted" else what
        values = getattr(outcomes, what).astype(float)
        found.figures[f"{name}: {label}"] = share_figure(values, products, "share")
