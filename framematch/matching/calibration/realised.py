"""The rates that thresholds realise on pictures that they were not made from (cross-validation). Pure."""

from dataclasses import dataclass

import numpy as np

from framematch.catalog.snapshots.calibration import ImpostorSource, Share
from framematch.matching.calibration.folds import FOLDS
from framematch.matching.calibration.limits import Basis, margin_of, match_limits
from framematch.matching.calibration.options import CalibrationOptions
from framematch.matching.calibration.scores import Flags, Pictures
from framematch.matching.decision import MIN_LEAD
from framematch.matching.intervals import clopper_pearson


@dataclass(frozen=True)
class Realised:
    """Impostors of each source that reach the similarity of a match, and the fields of a calibration with these names.

    In a fold that leaves too few pictures to state the rate, the threshold is above all of them.
    """

    accepted: dict[ImpostorSource, Share]
    mixups: Share
    ambiguous: Share
    refused: Share
    holds_truth: Share


@dataclass(frozen=True)
class _Outcomes:
    """What becomes of pictures of known products."""

    accepted: Flags
    matched: Flags
    wrong: Flags
    holds_truth: Flags


def realised(pictures: Pictures, basis: Basis, options: CalibrationOptions) -> Realised:
    """Judge each fold by thresholds from the other folds."""
    accepted: dict[ImpostorSource, list[Flags]] = {source: [] for source in pictures.impostors}
    outcomes: list[_Outcomes] = []
    for fold in range(FOLDS):
        made_from, judged = pictures.outside(fold), pictures.in_fold(fold)
        limits = match_limits(made_from, basis, options)
        for source, impostors in judged.impostors.items():
            accepted[source].append(limits.accepts(impostors))
        margin = margin_of(made_from.known.where(limits.accepts(made_from.known)), options)
        known = judged.known
        passed = limits.accepts(known)
        matched = passed & (known.lead >= margin) & (known.lead > MIN_LEAD)
        in_set = (known.behind < margin) | (known.behind <= MIN_LEAD)
        outcomes.append(_Outcomes(passed, matched, known.behind > 0, in_set))
    passed = np.concatenate([one.accepted for one in outcomes])
    matched = np.concatenate([one.matched for one in outcomes])
    wrong = np.concatenate([one.wrong for one in outcomes])
    in_set = np.concatenate([one.holds_truth for one in outcomes])
    ambiguous = passed & ~matched
    return Realised(
        accepted={source: share(np.concatenate(some)) for source, some in accepted.items()},
        mixups=share(wrong[matched]),
        ambiguous=share(ambiguous),
        refused=share(~passed),
        holds_truth=share(in_set[ambiguous]),
    )


def share(hits: Flags) -> Share:
    """The share of those that are true, with its exact 95 % interval."""
    interval = clopper_pearson(int(hits.sum()), len(hits))
    return Share(int(hits.sum()), len(hits), interval.low, interval.high)
